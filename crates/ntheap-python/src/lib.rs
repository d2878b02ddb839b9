//! The native half of the Python package: reports as JSON text and as Arrow tables. The other half, in
//! `python/ntheap`, makes objects of them.
#![forbid(unsafe_code)]

mod rows;
mod table;
mod tables;

use std::{path::PathBuf, sync::Arc, time::Duration};

use ntheap::{graph::Rules, layout::Bitness};
use ntheap_report::types::TypesOptions;
use ntheap_session::{Choice, DiffOptions, Error, Options, Session};
use pyo3::{
    create_exception,
    exceptions::{PyException, PyValueError},
    prelude::*,
};
use serde::Serialize;

use table::Table;

create_exception!(
    _native,
    DumpError,
    PyException,
    "A dump that can't be used."
);

/// An opened dump.
#[pyclass(frozen, module = "ntheap._native")]
struct Dump {
    session: Arc<Session>,
}

fn failed(error: Error) -> PyErr {
    match error {
        // As Python's own functions tell it: FileNotFoundError and its like.
        Error::Dump(ntheap::Error::Io { source, .. }) => PyErr::from(source),
        Error::NoSuchBlock { .. } | Error::NoSuchBlocks { .. } | Error::SymbolPath(_) => {
            PyValueError::new_err(error.to_string())
        }
        error => DumpError::new_err(error.to_string()),
    }
}

fn rules(text: &str) -> PyResult<Rules> {
    let rules: Result<Rules, _> = text.parse();
    rules.map_err(|error| PyValueError::new_err(error.to_string()))
}

fn json(report: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(report).map_err(|error| DumpError::new_err(error.to_string()))
}

/// Opens a dump.
#[pyfunction]
#[pyo3(signature = (path, symbols, cache, allow_mismatched, bits, time_limit, private))]
#[allow(clippy::too_many_arguments)]
fn open(
    py: Python<'_>,
    path: PathBuf,
    symbols: Option<String>,
    cache: Option<PathBuf>,
    allow_mismatched: bool,
    bits: Option<u32>,
    time_limit: Option<f64>,
    private: bool,
) -> PyResult<Dump> {
    let mut options = Options::with_symbols(symbols);
    options.cache = cache;
    options.allow_mismatched = allow_mismatched;
    options.bitness = match bits {
        None => None,
        Some(32) => Some(Bitness::X86),
        Some(64) => Some(Bitness::X64),
        Some(_) => return Err(PyValueError::new_err("bits: 32 or 64")),
    };
    let limit = |seconds| {
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| PyValueError::new_err("time_limit: not a time"))
    };
    options.time_limit = time_limit.map(limit).transpose()?;
    options.private = private;
    let session = py
        .detach(|| Session::open(&path, &options))
        .map_err(failed)?;
    Ok(Dump {
        session: Arc::new(session),
    })
}

impl Dump {
    /// Does long work without the interpreter's lock.
    fn work<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Session) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let session = &*self.session;
        let result = py.detach(|| {
            let result = work(session)?;
            session.check()?;
            Ok(result)
        });
        result.map_err(failed)
    }
}

#[pymethods]
impl Dump {
    fn info(&self, py: Python<'_>) -> PyResult<String> {
        json(&self.work(py, Session::info)?)
    }

    fn losses(&self, py: Python<'_>) -> PyResult<(bool, Vec<String>)> {
        let losses = self.work(py, Session::losses)?;
        Ok((losses.complete(), losses.lines().collect()))
    }

    fn heaps(&self, py: Python<'_>) -> PyResult<Table> {
        let report = self.work(py, Session::summary)?;
        tables::heaps(&report.heaps)
    }

    #[pyo3(signature = (heap))]
    fn sizes(&self, py: Python<'_>, heap: Option<u64>) -> PyResult<Table> {
        let report = self.work(py, |session| {
            session.sizes(ntheap::stats::Order::Total, usize::MAX)
        })?;
        tables::sizes(&report, heap)
    }

    #[pyo3(signature = (heap))]
    fn stacks(&self, py: Python<'_>, heap: Option<u64>) -> PyResult<Table> {
        let report = self.work(py, |session| session.stacks(usize::MAX))?;
        tables::stacks(&report, heap)
    }

    #[pyo3(signature = (heap, all))]
    fn blocks(&self, py: Python<'_>, heap: Option<u64>, all: bool) -> PyResult<Table> {
        let blocks = self.work(py, |session| {
            session.with(|view| tables::Blocks::of(view.heaps, heap, all))
        })?;
        blocks.table()
    }

    fn leaks(&self, py: Python<'_>, heuristics: &str) -> PyResult<(String, Table)> {
        let rules = rules(heuristics)?;
        let report = self.work(py, |session| session.leaks(rules))?;
        Ok((json(&report)?, tables::leaks(&report.records)?))
    }

    #[pyo3(signature = (base, contents))]
    fn types(
        &self,
        py: Python<'_>,
        base: Option<&str>,
        contents: bool,
    ) -> PyResult<(String, Table)> {
        let options = TypesOptions {
            base,
            contents,
            texts: 100,
        };
        let report = self.work(py, |session| session.types(&options))?;
        Ok((json(&report)?, tables::types(&report.types)?))
    }

    fn block(&self, py: Python<'_>, address: u64, references: bool) -> PyResult<String> {
        json(&self.work(py, |session| session.block(address, references))?)
    }

    #[pyo3(signature = (address, size, type_name, heuristics, top))]
    fn owners(
        &self,
        py: Python<'_>,
        address: Option<u64>,
        size: Option<u64>,
        type_name: Option<String>,
        heuristics: &str,
        top: usize,
    ) -> PyResult<String> {
        let choice = match (address, size, type_name) {
            (Some(address), None, None) => Choice::Address(address),
            (None, Some(size), None) => Choice::Size(size),
            (None, None, Some(name)) => Choice::Type(name),
            _ => return Err(PyValueError::new_err("give one of address, size, type")),
        };
        let rules = rules(heuristics)?;
        json(&self.work(py, |session| session.owners(&choice, rules, top))?)
    }
}

/// Compares dumps.
#[pyfunction]
fn diff(
    py: Python<'_>,
    dumps: Vec<Bound<'_, Dump>>,
    top: usize,
) -> PyResult<(String, Table, Table)> {
    let sessions: Vec<Arc<Session>> = dumps
        .iter()
        .map(|dump| Arc::clone(&dump.get().session))
        .collect();
    let mut options = DiffOptions::default();
    options.top = usize::MAX;
    let report = py.detach(|| {
        let all: Vec<&Session> = sessions.iter().map(Arc::as_ref).collect();
        let report = ntheap_session::diff(&all, &options)?;
        all.iter().try_for_each(|session| session.check())?;
        Ok(report)
    });
    let mut report = report.map_err(failed)?;
    let (heaps, groups) = (tables::changes(&report)?, tables::groups(&report)?);
    for heap in &mut report.heaps {
        heap.groups.truncate(top);
    }
    Ok((json(&report)?, heaps, groups))
}

/// Types that grew.
#[pyfunction]
#[pyo3(signature = (before, after, base))]
fn compare_types(
    py: Python<'_>,
    before: &Bound<'_, Dump>,
    after: &Bound<'_, Dump>,
    base: Option<&str>,
) -> PyResult<(String, Table)> {
    let (before, after) = (&*before.get().session, &*after.get().session);
    let options = TypesOptions {
        base,
        ..TypesOptions::default()
    };
    let report = py.detach(|| ntheap_session::compare_types(before, after, &options));
    let report = report.map_err(failed)?;
    Ok((json(&report)?, tables::types(&report.types)?))
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("DumpError", module.py().get_type::<DumpError>())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Dump>()?;
    module.add_class::<Table>()?;
    module.add_function(wrap_pyfunction!(open, module)?)?;
    module.add_function(wrap_pyfunction!(diff, module)?)?;
    module.add_function(wrap_pyfunction!(compare_types, module)?)
}
