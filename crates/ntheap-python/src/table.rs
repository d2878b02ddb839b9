//! Columns that Python libraries take over as they are: through the Arrow C stream interface.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, RecordBatchIterator,
    RecordBatchReader, StringArray, UInt64Array,
    builder::{ListBuilder, StringBuilder},
    ffi_stream::FFI_ArrowArrayStream,
};
use arrow_schema::{ArrowError, Field, Schema};
use pyo3::{prelude::*, types::PyCapsule};

use crate::DumpError;

/// A table.
#[pyclass(frozen, module = "ntheap._native")]
#[derive(Clone)]
pub(crate) struct Table {
    batch: RecordBatch,
}

fn failed(error: ArrowError) -> PyErr {
    DumpError::new_err(error.to_string())
}

/// Columns under way.
#[derive(Default)]
pub(crate) struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn put(mut self, name: &str, array: ArrayRef) -> Self {
        self.fields
            .push(Field::new(name, array.data_type().clone(), true));
        self.arrays.push(array);
        self
    }

    pub(crate) fn numbers(self, name: &str, values: Vec<u64>) -> Self {
        self.put(name, Arc::new(UInt64Array::from(values)))
    }

    pub(crate) fn optional(self, name: &str, values: Vec<Option<u64>>) -> Self {
        self.put(name, Arc::new(UInt64Array::from(values)))
    }

    pub(crate) fn signed(self, name: &str, values: Vec<i64>) -> Self {
        self.put(name, Arc::new(Int64Array::from(values)))
    }

    pub(crate) fn shares(self, name: &str, values: Vec<Option<f64>>) -> Self {
        self.put(name, Arc::new(Float64Array::from(values)))
    }

    pub(crate) fn flags(self, name: &str, values: Vec<bool>) -> Self {
        self.put(name, Arc::new(BooleanArray::from(values)))
    }

    pub(crate) fn texts<T: AsRef<str>>(self, name: &str, values: Vec<Option<T>>) -> Self {
        let array: StringArray = values.into_iter().collect();
        self.put(name, Arc::new(array))
    }

    pub(crate) fn lists(self, name: &str, values: Vec<Vec<String>>) -> Self {
        let mut builder = ListBuilder::new(StringBuilder::new());
        for list in values {
            list.iter()
                .for_each(|text| builder.values().append_value(text));
            builder.append(true);
        }
        self.put(name, Arc::new(builder.finish()))
    }

    pub(crate) fn table(self) -> PyResult<Table> {
        let schema = Arc::new(Schema::new(self.fields));
        let batch = RecordBatch::try_new(schema, self.arrays).map_err(failed)?;
        Ok(Table { batch })
    }
}

#[pymethods]
impl Table {
    /// The table as a stream of the Arrow C data interface; nothing is copied.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // A producer that can't convert may give what it has.
        let _ = requested_schema;
        let schema = self.batch.schema();
        let batches = std::iter::once(Ok(self.batch.clone()));
        let reader: Box<dyn RecordBatchReader + Send> =
            Box::new(RecordBatchIterator::new(batches, schema));
        let stream = FFI_ArrowArrayStream::new(reader);
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    fn __len__(&self) -> usize {
        self.batch.num_rows()
    }

    /// Names of the columns.
    #[getter]
    fn columns(&self) -> Vec<String> {
        let schema = self.batch.schema();
        schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect()
    }

    /// The rows as dictionaries, from `start` to before `end`.
    fn rows<'py>(
        &self,
        py: Python<'py>,
        start: usize,
        end: usize,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        crate::rows::rows(py, &self.batch, start, end)
    }
}
