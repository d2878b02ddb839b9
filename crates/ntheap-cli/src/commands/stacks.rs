//! `ntheap stacks`: stacks in the forms that profilers read.

use std::{
    collections::HashMap,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use ntheap::{
    blocks::Trace,
    dump::Dump,
    names::{Name, NameSource},
    stats::{self, Count, Groups},
    traces::Traces,
};
use ntheap_report::profile::{self, Columns, Frame, Mapping, PprofOptions, Sample};

use crate::{
    failure::{Failure, Status},
    input::{Input, heaps},
    options::{Common, Format},
    output::{Output, write_to},
    symbols,
};

/// `ntheap stacks`.
#[derive(Debug, Args)]
pub(crate) struct Stacks {
    /// The dump, or the older of two
    dump: PathBuf,
    /// The newer dump
    after: Option<PathBuf>,
    /// The form
    #[arg(
        long = "as",
        value_enum,
        value_name = "FORM",
        default_value = "collapsed"
    )]
    form: Form,
    /// What the numbers are (pprof has both, and shows this one first)
    #[arg(long, value_enum, default_value = "bytes")]
    by: By,
    /// Where to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// `outermost;...;innermost N` lines; of two dumps `... BEFORE AFTER`
    Collapsed,
    /// pprof's gzipped protocol buffer; of two dumps what was gained
    Pprof,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// Requested bytes
    Bytes,
    /// Number of blocks
    Blocks,
}

pub(crate) fn run(args: &Stacks, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let named = [Some(&args.dump), args.after.as_ref()].into_iter();
    let paths: Vec<PathBuf> = named.flatten().cloned().collect();
    let file = args.output.as_deref();
    write(&paths, args.form, args.by, file, common, output)
}

/// Writes the stacks of a dump, or of the older and the newer of two.
pub(crate) fn write(
    paths: &[PathBuf],
    form: Form,
    by: By,
    file: Option<&Path>,
    common: &Common,
    output: &mut Output,
) -> Result<Status, Failure> {
    if !matches!(common.format, None | Some(Format::Text)) {
        return Err(Failure::Usage(
            "stacks has forms of its own (--as); for JSON use stat --group-by stack".to_owned(),
        ));
    }
    if form == Form::Pprof && file.is_none() && io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "a pprof profile is no text for a terminal: -o FILE.pb.gz".to_owned(),
        ));
    }
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let open = |path: &&Path| Input::open(path, common);
    let inputs: Vec<Input> = paths.iter().map(open).collect::<Result<_, _>>()?;
    let dumps: Vec<Dump<'_>> = inputs.iter().map(Input::parse).collect::<Result<_, _>>()?;
    let mut status = Status::Complete;
    let mut samples = Vec::new();
    for (index, (input, dump)) in inputs.iter().zip(&dumps).enumerate() {
        let is_before = inputs.len() == 2 && index == 0;
        let counted = count(input, dump, common, &mut |frames, count| {
            let (before, after) = match is_before {
                true => (count, Count::default()),
                false => (Count::default(), count),
            };
            samples.push(Sample {
                frames,
                before,
                after,
            });
        })?;
        status = status.and(counted);
    }
    let by = match by {
        By::Bytes => profile::By::Bytes,
        By::Blocks => profile::By::Blocks,
    };
    let columns = match inputs.len() {
        1 => Columns::After,
        _ => Columns::BeforeAndAfter,
    };
    write_to(file, &paths, output, |out| {
        match form {
            Form::Collapsed => profile::write_collapsed(samples, by, columns, out)?,
            Form::Pprof => profile::write_pprof(samples, &options(&inputs, &dumps, by), out)?,
        }
        Ok(())
    })?;
    Ok(status)
}

/// Hands over every distinct stack of the dump with its blocks.
fn count(
    input: &Input,
    dump: &Dump<'_>,
    common: &Common,
    take: &mut dyn FnMut(Vec<Frame>, Count),
) -> Result<Status, Failure> {
    let source = input.names(dump);
    let mut known: HashMap<u64, Vec<Name>> = HashMap::new();
    let mut status = Status::Complete;
    let mut with_stack = false;
    for process in input.processes(dump, common)? {
        let heaps = heaps(input, &process, common)?;
        status = status.and(input.report(heaps.losses()));
        let mut groups: Groups<Trace> = Groups::default();
        for heap in stats::collect_by(&heaps, |block| block.trace) {
            groups.merge(heap);
        }
        let traces = Traces::of(&process);
        let mut stacks: HashMap<Vec<u64>, Count> = HashMap::new();
        for (trace, count) in groups.into_counts() {
            let stack = traces.frames(trace).unwrap_or_default();
            stacks.entry(stack).or_default().merge(count);
        }
        let mut stacks: Vec<_> = stacks.into_iter().collect();
        stacks.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (stack, count) in stacks {
            with_stack |= !stack.is_empty();
            let frame = |address: u64| Frame {
                address,
                names: known
                    .entry(address)
                    .or_insert_with(|| source.frames(address))
                    .clone(),
            };
            take(stack.into_iter().map(frame).collect(), count);
        }
    }
    if !with_stack {
        let name = input.name();
        say!("{name}: no block has a stack; ntheap info says how to have them next time");
    }
    Ok(status.and(symbols::report(dump, input.symbols())))
}

/// What the profile says besides its samples.
fn options(inputs: &[Input], dumps: &[Dump<'_>], by: profile::By) -> PprofOptions {
    let (first, last) = (&dumps[0], &dumps[dumps.len() - 1]);
    let mapping = |module: &ntheap::dump::Module| Mapping {
        module: module.name().to_owned(),
        start: module.base,
        end: module.end(),
        file: module.path.clone(),
        build_id: module
            .pdb
            .as_ref()
            .map_or_else(String::new, |pdb| pdb.id.breakpad().to_string()),
    };
    let names: Vec<_> = inputs.iter().map(Input::name).collect();
    let comment = match &names[..] {
        [before, after] => format!("heap blocks gained from {before} to {after}"),
        names => format!("heap blocks of {}", names[0]),
    };
    PprofOptions {
        by,
        timestamp: last.timestamp.into(),
        seconds: last.timestamp.saturating_sub(first.timestamp).into(),
        mappings: last.modules.iter().map(mapping).collect(),
        comments: vec![comment],
    }
}
