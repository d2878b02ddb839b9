//! The macro that turns a table into a struct of offsets.

macro_rules! struct_layout {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $type_name:literal {
            $($field:ident: $field_name:literal,)*
        }
        x86 { $($b32:literal: $s32:literal [$($o32:tt),*],)* }
        x64 { $($b64:literal: $s64:literal [$($o64:tt),*],)* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            /// Size of the structure in bytes.
            pub struct_size: u32,
            $(
                #[doc = concat!("Offset of `", $field_name, "` in bytes.")]
                pub $field: Option<u32>,
            )*
        }

        impl $name {
            /// Name of the structure in type records.
            pub const NAME: &'static str = $type_name;
            const FIELDS: &'static [&'static str] = &[$($field_name),*];
            const X86: &'static [$crate::layout::Row<{ Self::FIELDS.len() }>] =
                &[$(($b32, $s32, [$(struct_layout!(@offset $o32)),*]),)*];
            const X64: &'static [$crate::layout::Row<{ Self::FIELDS.len() }>] =
                &[$(($b64, $s64, [$(struct_layout!(@offset $o64)),*]),)*];

            /// The built-in layout for a build; all fields `None` where none is known.
            #[must_use]
            pub fn for_build(build: u32, bitness: $crate::layout::Bitness) -> Self {
                let rows = match bitness {
                    $crate::layout::Bitness::X86 => Self::X86,
                    $crate::layout::Bitness::X64 => Self::X64,
                };
                match $crate::layout::select(rows, build) {
                    Some(&(_, struct_size, [$($field),*])) => $name { struct_size, $($field),* },
                    None => $name { struct_size: 0, $($field: None),* },
                }
            }

            /// Every field's name with its offset in bytes.
            #[must_use]
            pub fn fields(&self) -> Vec<(&'static str, Option<u32>)> {
                vec![$(($field_name, self.$field)),*]
            }

            pub(crate) fn override_with(&mut self, source: &dyn $crate::layout::TypeSource) -> usize {
                let mut changed = 0;
                if let Some(size) = source.size_of($type_name) {
                    changed += usize::from(size != self.struct_size);
                    self.struct_size = size;
                }
                $(
                    if let Some(offset) = source.field_offset($type_name, $field_name) {
                        changed += usize::from(Some(offset) != self.$field);
                        self.$field = Some(offset);
                    }
                )*
                changed
            }
        }
    };
    (@offset __) => { None };
    (@offset $value:literal) => { Some($value) };
}

pub(crate) use struct_layout;
