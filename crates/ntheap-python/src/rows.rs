//! Rows of a table as Python's dictionaries.

use arrow_array::{
    Array, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, UInt64Array,
};
use pyo3::{prelude::*, types::PyDict};

/// Rows of a table as dictionaries.
pub(crate) fn rows<'py>(
    py: Python<'py>,
    batch: &RecordBatch,
    start: usize,
    end: usize,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let schema = batch.schema();
    let row = |number: usize| {
        let row = PyDict::new(py);
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            row.set_item(field.name(), value(py, column, number)?)?;
        }
        Ok(row.into_any())
    };
    (start..end.min(batch.num_rows())).map(row).collect()
}

fn value<'py>(py: Python<'py>, column: &dyn Array, row: usize) -> PyResult<Bound<'py, PyAny>> {
    if column.is_null(row) {
        return Ok(py.None().into_bound(py));
    }
    let any = column.as_any();
    if let Some(column) = any.downcast_ref::<UInt64Array>() {
        return Ok(column.value(row).into_pyobject(py)?.into_any());
    }
    if let Some(column) = any.downcast_ref::<Int64Array>() {
        return Ok(column.value(row).into_pyobject(py)?.into_any());
    }
    if let Some(column) = any.downcast_ref::<Float64Array>() {
        return Ok(column.value(row).into_pyobject(py)?.into_any());
    }
    if let Some(column) = any.downcast_ref::<BooleanArray>() {
        return Ok(column.value(row).into_pyobject(py)?.to_owned().into_any());
    }
    if let Some(column) = any.downcast_ref::<StringArray>() {
        return Ok(column.value(row).into_pyobject(py)?.into_any());
    }
    let list = any
        .downcast_ref::<ListArray>()
        .map(|column| column.value(row));
    let texts: Vec<String> = match list
        .as_ref()
        .and_then(|list| list.as_any().downcast_ref::<StringArray>())
    {
        Some(texts) => texts.iter().flatten().map(str::to_owned).collect(),
        None => Vec::new(),
    };
    Ok(texts.into_pyobject(py)?.into_any())
}
