//! `ntheap export`: the files of other people's viewers.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use ntheap::{process::Process, usage::Usage};
use ntheap_report::export::{
    Allocations, Identities, Objects, heapsnapshot, heaptrack, hprof, speedscope,
};

use super::{series::opened, stacks};
use crate::{
    failure::{Failure, Status},
    input::{Input, heaps},
    labels::Labels,
    options::{Common, Format},
    output::{Output, write_to},
    patterns, privacy,
    progress::Working,
    symbols,
    tables::{self, Tables},
};

const EXAMPLES: &str = "\
Examples:
  ntheap export app.dmp --as heapsnapshot -o app.heapsnapshot     (open in DevTools, Memory)
  ntheap export 'app-*.dmp' --as heaptrack -o app.heaptrack       (heaptrack_gui; a timeline)";

/// `ntheap export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Export {
    /// The dump, or the older and the newer; for heaptrack and speedscope any number; a name may be a
    /// pattern
    #[arg(required = true, value_name = "DUMP")]
    dumps: Vec<PathBuf>,
    /// The form
    #[arg(short = 'a', long = "as", value_enum, value_name = "FORM")]
    form: Form,
    /// What the numbers of collapsed stacks are (pprof has both, and shows this one first)
    #[arg(long, value_enum, default_value = "bytes")]
    by: stacks::By,
    /// Where to write [default: standard output]; of two heap snapshots or HPROF files a number is
    /// put before the extension; of Parquet the folder
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Parquet: every block, too
    #[arg(long)]
    blocks: bool,
    /// Parquet: every pointer to a block, too
    #[arg(long)]
    references: bool,
    /// Parquet: don't look up what the blocks are and who holds them
    #[arg(long)]
    no_owners: bool,
    #[command(flatten)]
    labels: Labels,
}

impl Export {
    /// Writes tables, dump by dump.
    fn tables(&self, paths: &[PathBuf], common: &Common) -> Result<Status, Failure> {
        tables::check()?;
        let Some(folder) = &self.output else {
            return Err(Failure::Usage(
                "Parquet files need a folder: -o DIR".to_owned(),
            ));
        };
        let tables = Tables {
            owners: !self.no_owners,
            blocks: self.blocks,
            references: self.references,
        };
        let mut status = Status::Complete;
        for path in paths {
            let input = Input::open(path, common)?;
            let losses = tables::write(&input, tables, &self.labels, (path, folder), common)?;
            status = status.and(input.report(&losses));
        }
        Ok(status)
    }
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Chrome's heap snapshot: DevTools of Chrome, Edge, VS Code (retainers, dominators, comparison)
    Heapsnapshot,
    /// heaptrack's data: heaptrack_gui, heaptrack_print; several dumps are a timeline
    Heaptrack,
    /// Java's heap dump: Eclipse MAT
    Hprof,
    /// speedscope's JSON, a profile for each dump
    Speedscope,
    /// `outermost;...;innermost N` lines; of two dumps `... BEFORE AFTER`
    Collapsed,
    /// pprof's gzipped protocol buffer; of two dumps what was gained
    Pprof,
    /// Tables for databases: a folder of Parquet files, any number of dumps (docs/fleet.md)
    Parquet,
}

pub(crate) fn run(args: &Export, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    if !matches!(common.format, None | Some(Format::Text)) {
        return Err(Failure::Usage(
            "export has forms of its own (--as)".to_owned(),
        ));
    }
    let paths = patterns::expand(&args.dumps)?;
    if args.form == Form::Parquet {
        return args.tables(&paths, common);
    }
    let most = match args.form {
        Form::Heaptrack | Form::Speedscope => usize::MAX,
        _ => 2,
    };
    if paths.len() > most {
        return Err(Failure::Usage(
            "this form takes two dumps at most; heaptrack and speedscope take any number"
                .to_owned(),
        ));
    }
    let form = match args.form {
        Form::Collapsed => stacks::Form::Collapsed,
        Form::Pprof => stacks::Form::Pprof,
        form => return Exporter { args, common, form }.run(&paths, output),
    };
    stacks::write(
        &paths,
        form,
        args.by,
        args.output.as_deref(),
        common,
        output,
    )
}

struct Exporter<'e> {
    args: &'e Export,
    common: &'e Common,
    form: Form,
}

impl Exporter<'_> {
    fn run(&self, paths: &[PathBuf], output: &mut Output) -> Result<Status, Failure> {
        let per_dump = matches!(self.form, Form::Heapsnapshot | Form::Hprof);
        if self.form == Form::Hprof && self.args.output.is_none() && io::stdout().is_terminal() {
            return Err(Failure::Usage(
                "HPROF is no text for a terminal: -o FILE.hprof".to_owned(),
            ));
        }
        if per_dump && paths.len() > 1 && self.args.output.is_none() {
            return Err(Failure::Usage("two files need a name: -o FILE".to_owned()));
        }
        opened(paths, self.common, |inputs, processes| match per_dump {
            true => self.objects(inputs, processes, output),
            false => self.stacks(inputs, processes, output),
        })
    }

    /// A file for each dump.
    fn objects(
        &self,
        inputs: &[&Input],
        processes: &[Process<'_, '_>],
        output: &mut Output,
    ) -> Result<Status, Failure> {
        let mut identities = Identities::new();
        let mut status = Status::Complete;
        let paths: Vec<&Path> = inputs.iter().map(|input| input.path()).collect();
        for (number, (input, process)) in inputs.iter().zip(processes).enumerate() {
            let names = input.names(process.dump);
            let heaps = heaps(input, process, self.common)?;
            let working = Working::walking("reading references", Objects::bytes_to_read(&heaps));
            let objects = Objects::of(&heaps, &names);
            drop(working);
            status = status.and(input.report(heaps.losses()));
            let file = self.args.output.as_deref().map(|file| match inputs.len() {
                1 => file.to_owned(),
                _ => numbered(file, number + 1),
            });
            write_to(file.as_deref(), &paths, output, |out| match self.form {
                Form::Hprof => {
                    let word = process.bitness.pointer_size();
                    let time = u64::from(process.dump.timestamp) * 1000;
                    Ok(hprof::write(&objects, word, time, out)?)
                }
                _ => {
                    let clamped = heapsnapshot::write(&objects, &mut identities, &names, out)?;
                    if clamped > 0 {
                        say!("blocks of 4 GiB and more are told as smaller, by {clamped} bytes");
                    }
                    Ok(())
                }
            })?;
            status = status.and(symbols::report(process.dump, input.symbols()));
        }
        Ok(status)
    }

    /// One file for all dumps.
    fn stacks(
        &self,
        inputs: &[&Input],
        processes: &[Process<'_, '_>],
        output: &mut Output,
    ) -> Result<Status, Failure> {
        let mut status = Status::Complete;
        let mut all: Vec<(Allocations, u64)> = Vec::new();
        for (input, process) in inputs.iter().zip(processes) {
            let heaps = heaps(input, process, self.common)?;
            status = status.and(input.report(heaps.losses()));
            all.push((Allocations::of(&heaps), Usage::of(&heaps).total().private));
        }
        let (Some(input), Some(process)) = (inputs.last(), processes.last()) else {
            return Ok(status);
        };
        let names = input.names(process.dump);
        let paths: Vec<&Path> = inputs.iter().map(|input| input.path()).collect();
        let first = processes
            .first()
            .map_or(0, |process| process.dump.timestamp);
        write_to(self.args.output.as_deref(), &paths, output, |out| {
            if self.form == Form::Speedscope {
                let named = inputs.iter().map(|input| input.name().into_owned());
                let dumps: Vec<_> = named.zip(all.iter().map(|dump| &dump.0)).collect();
                return Ok(speedscope::write(&dumps, &names, out)?);
            }
            let times = processes.iter().map(|process| process.dump.timestamp);
            let moments: Vec<_> = all
                .iter()
                .zip(times)
                .map(|((allocations, private), time)| heaptrack::Moment {
                    allocations,
                    milliseconds: u64::from(time.saturating_sub(first)) * 1000,
                    private: *private,
                })
                .collect();
            let program = process
                .program()
                .map_or("", |program| match privacy::is_on() {
                    true => program.file_name(),
                    false => program.path.as_str(),
                });
            Ok(heaptrack::write(&moments, program, &names, out)?)
        })?;
        Ok(status.and(symbols::report(process.dump, input.symbols())))
    }
}

/// `app.hprof` as `app.1.hprof`.
fn numbered(file: &Path, number: usize) -> PathBuf {
    let extension = file
        .extension()
        .map(|extension| extension.to_string_lossy());
    match extension {
        Some(extension) => file.with_extension(format!("{number}.{extension}")),
        None => file.with_extension(number.to_string()),
    }
}
