//! What blocks are: classes by their virtual function tables, containers by their shape, text.

pub mod rtti;

pub use rtti::Rtti;
