//! A hook for a crash pipeline: a dump in, a JSON verdict out, within a time limit.
//!
//! `cargo run --release -p ntheap-examples --bin hook -- app.dmp [--before earlier.dmp] [--seconds 30]`
//!
//! The verdict is one line of JSON, whatever happens: `status` is `complete`, `partial` (something could not be read, or
//! the time was up in the middle of it: `losses` says so), `timed-out` (there was nothing to tell yet) or
//! `unusable`. `fingerprint` is the same for the same cause, to file dumps under. Exit status: 0 unless unusable (2).

use std::{
    env,
    path::PathBuf,
    process::{self, ExitCode},
    sync::mpsc,
    thread,
    time::Duration,
};

use ntheap::graph::Rules;
use ntheap_session::{DiffOptions, Error, Options, Session, diff};
use serde_json::{Value, json};

/// What the work may use of the time; the rest is for what can't be interrupted.
const SHARE: f64 = 0.6;
const FRAMES: usize = 3;

struct Arguments {
    dump: PathBuf,
    before: Option<PathBuf>,
    limit: Duration,
}

fn arguments() -> Option<Arguments> {
    let mut rest = env::args_os().skip(1);
    let mut found = Arguments {
        dump: rest.next()?.into(),
        before: None,
        limit: Duration::from_secs(30),
    };
    while let Some(option) = rest.next() {
        let value = rest.next()?;
        match option.to_str()? {
            "--before" => found.before = Some(value.into()),
            "--seconds" => {
                let seconds: f64 = value.to_str()?.parse().ok()?;
                found.limit = Duration::try_from_secs_f64(seconds).ok()?;
            }
            _ => return None,
        }
    }
    Some(found)
}

/// What is told of a dump, and whether it is all there is.
fn verdict(arguments: &Arguments) -> Result<Value, Error> {
    let mut options = Options::default();
    options.time_limit = Some(arguments.limit.mul_f64(SHARE));
    options.symbols = env::var("_NT_SYMBOL_PATH").ok();
    let dump = Session::open(&arguments.dump, &options)?;
    let info = dump.info()?;
    let mut verdict = json!({
        "program": info.process.program,
        "build": info.process.build,
        "heap_failure": info.heap_failure,
    });
    let losses = match &arguments.before {
        Some(before) => {
            let before = Session::open(before, &options)?;
            let report = diff(&[&before, &dump], &DiffOptions::default())?;
            let first = report.judgement.suspects.first();
            verdict["verdict"] = match first {
                Some(suspect) => suspect.text.clone().into(),
                None => report.verdict.into(),
            };
            verdict["confidence"] = json!(first.map(|suspect| suspect.confidence));
            verdict["fingerprint"] = json!(first.map(|suspect| {
                let frames = suspect.frames.iter().take(FRAMES);
                frames.map(|frame| stable(frame)).collect::<Vec<_>>()
            }));
            before.check()?;
            report.missing
        }
        None => {
            let report = dump.leaks(Rules::DEFAULT)?;
            let first = report
                .records
                .iter()
                .find(|record| record.class == "definite");
            verdict["lost"] = json!(report.summary.definite);
            verdict["fingerprint"] = json!(first.map(|record| {
                vec![
                    record
                        .type_name
                        .as_deref()
                        .map(str::to_owned)
                        .unwrap_or_else(|| format!("{:#x}", record.size)),
                ]
            }));
            let losses = dump.losses()?;
            if losses.complete() {
                Vec::new()
            } else {
                losses.lines().collect()
            }
        }
    };
    dump.check()?;
    verdict["status"] = if losses.is_empty() {
        "complete"
    } else {
        "partial"
    }
    .into();
    verdict["losses"] = losses.into();
    Ok(verdict)
}

/// A frame without what changes from build to build.
fn stable(frame: &str) -> String {
    let name = frame.split("  [").next().unwrap_or(frame);
    name.split("+0x").next().unwrap_or(name).to_owned()
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: hook DUMP [--before DUMP] [--seconds N]");
        return ExitCode::from(2);
    };
    let (done, verdicts) = mpsc::channel();
    let limit = arguments.limit;
    // The work can't be stopped from outside, but nobody has to wait for it.
    thread::spawn(move || done.send(verdict(&arguments)));
    let (verdict, status) = match verdicts.recv_timeout(limit) {
        Ok(Ok(verdict)) => (verdict, 0),
        Ok(Err(error)) => (
            json!({"status": "unusable", "reason": error.to_string()}),
            2,
        ),
        Err(mpsc::RecvTimeoutError::Timeout) => (json!({"status": "timed-out"}), 0),
        Err(mpsc::RecvTimeoutError::Disconnected) => (
            json!({"status": "unusable", "reason": "a fault of ntheap"}),
            2,
        ),
    };
    println!("{verdict}");
    process::exit(status);
}
