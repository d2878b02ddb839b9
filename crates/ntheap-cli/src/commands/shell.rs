//! `ntheap shell`: the debugger's commands at a prompt, over one dump or two.

use clap::Args;
use std::{
    fmt,
    io::{self, BufRead, IsTerminal, Lines, StdinLock},
    path::PathBuf,
};

use ntheap::{
    diff::{self, Grouping, Snapshot},
    heap::Heaps,
    losses::Losses,
    names::NameSource,
    process::Process,
};
use ntheap_report::diff::{self as comparison, Options, Show};
use ntheap_symbols::DumpNames;
use ntheap_windbg::{COMMANDS, CommandError, Session};
use rustyline::{CompletionType, Config, Editor, error::ReadlineError, history::DefaultHistory};

use super::{session, text_only};
use crate::{
    completion::{Completion, OWN_COMMANDS},
    failure::{Failure, Status},
    input::{Input, Reporter},
    options::Common,
    output::Output,
    pager::{Pager, catch_interrupts},
    privacy, symbols,
};

/// `ntheap shell`.
#[derive(Debug, Args)]
pub(crate) struct Shell {
    /// The dump
    dump: PathBuf,
    /// A newer dump of the same program: .before and .after switch between them, !diff compares
    after: Option<PathBuf>,
}

pub(crate) fn run(args: &Shell, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    text_only(common)?;
    let mut inputs = vec![Input::open(&args.dump, common)?];
    if let Some(after) = &args.after {
        inputs.push(Input::open(after, common)?);
    }
    let mut dumps = Vec::new();
    for input in &inputs {
        dumps.push(input.parse()?);
    }
    let mut processes = Vec::new();
    for (input, dump) in inputs.iter().zip(&dumps) {
        let process = input.process_without_heaps(dump, common)?;
        let other = input.other_side(&process);
        processes.push((process, other));
    }
    let heaps: Vec<_> = processes
        .iter()
        .map(|(process, other)| (Heaps::listed(process), other.as_ref().map(Heaps::listed)))
        .collect();
    let reporters = inputs.iter().zip(&processes);
    let reporters = reporters.map(|(input, (process, _))| Reporter::new(input, process));
    let named = inputs.iter().zip(&dumps);
    let names: Vec<_> = named
        .map(|(input, dump)| {
            DumpNames::new(dump, input.symbols()).with_file_names_only(privacy::is_on())
        })
        .collect();
    let sessions = heaps
        .iter()
        .zip(&names)
        .zip(&inputs)
        .map(|(((heaps, other), names), input)| {
            session(input, common, (heaps, other.as_ref()), names)
        })
        .collect();
    let newest = names.last().map(|names| names as &dyn NameSource);
    let prompt = Prompt::new(&processes, newest);
    let mut state = State {
        inputs: &inputs,
        names: &names,
        sessions,
        reporters: reporters.collect(),
        // What is looked into is the newer one.
        current: inputs.len() - 1,
        read: None,
        paged: prompt.is_terminal() && io::stdout().is_terminal(),
    };
    let mut status = state.run(prompt, output)?;
    for (input, dump) in inputs.iter().zip(&dumps) {
        status = status.and(symbols::report(dump, input.symbols()));
    }
    let read = state.reporters.iter().map(Reporter::status);
    Ok(read.fold(status, Status::and))
}

struct State<'s, 'p, 'a> {
    inputs: &'s [Input],
    names: &'s [DumpNames<'p, 'a, 's>],
    sessions: Vec<Session<'p, 'a>>,
    reporters: Vec<Reporter<'s, 'p>>,
    current: usize,
    /// What the last command could not read.
    read: Option<&'p Losses>,
    paged: bool,
}

impl State<'_, '_, '_> {
    fn run(&mut self, mut prompt: Prompt<'_>, output: &mut Output) -> Result<Status, Failure> {
        let mut status = Status::Complete;
        while let Some(line) = prompt.line(self.label())? {
            let command = line.trim();
            match command {
                "" => continue,
                "q" | "qq" | "quit" | "exit" | ".exit" => break,
                _ => {}
            }
            let mut pager = Pager::new(output, self.paged);
            let result = self.execute(command, &mut pager);
            pager.finish()?;
            self.reporters[self.current].report(self.read.take());
            match result {
                // Ctrl-C, or `q` behind a page.
                Ok(()) | Err(CommandError::Output) => {}
                Err(error) => {
                    say!("{error}");
                    status = Status::Partial;
                }
            }
            if self.sessions[self.current].has_quit() {
                break;
            }
        }
        prompt.close();
        Ok(status)
    }

    fn label(&self) -> &'static str {
        match (self.inputs.len(), self.current) {
            (1, _) => "> ",
            (_, 0) => "before> ",
            _ => "after> ",
        }
    }

    fn execute(&mut self, command: &str, out: &mut dyn fmt::Write) -> Result<(), CommandError> {
        match command {
            ".before" | ".after" => {
                if self.inputs.len() < 2 {
                    return Err(ONE_DUMP);
                }
                self.current = usize::from(command == ".after");
                let name = self.inputs[self.current].name();
                Ok(writeln!(out, "{name}")?)
            }
            "!diff" => self.compare(out),
            ".help" | "help" | "?" => {
                let mut all: Vec<_> = COMMANDS.iter().chain(OWN_COMMANDS).copied().collect();
                all.sort_unstable();
                Ok(writeln!(out, "{}", all.join(" "))?)
            }
            _ => {
                let executed = self.sessions[self.current].execute(command, out);
                self.read = executed.losses;
                executed.result
            }
        }
    }

    fn compare(&self, mut out: &mut dyn fmt::Write) -> Result<(), CommandError> {
        const TOP: usize = 10;
        let [before, after] = self.inputs else {
            return Err(ONE_DUMP);
        };
        let processes = [self.sessions[0].process(), self.sessions[1].process()];
        let snapshots = processes.map(Snapshot::of);
        let by = Grouping {
            size: true,
            stack: true,
        };
        let comparison = diff::compare(&snapshots[0], &snapshots[1], by);
        for warning in &comparison.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        let options = Options {
            names: [before, after].map(|input| input.shown_path()).into(),
            show: Show::Sizes,
            top: TOP,
            min_growth: 1,
        };
        let judging = diff::Options::default();
        let judgement = comparison.judge(&snapshots[1], &self.names[1], &judging);
        Ok(comparison::write(
            &comparison,
            &judgement,
            &processes,
            &options,
            &self.names[1],
            &mut out,
        )?)
    }
}

const ONE_DUMP: CommandError = CommandError::Unavailable {
    reason: "there is one dump only: start with `ntheap shell BEFORE AFTER`",
};

/// Where commands come from.
enum Prompt<'n> {
    Terminal {
        editor: Box<Editor<Completion<'n>, DefaultHistory>>,
        history: Option<PathBuf>,
    },
    Lines(Lines<StdinLock<'static>>),
}

impl<'n> Prompt<'n> {
    fn new(
        processes: &[(Process<'_, '_>, Option<Process<'_, '_>>)],
        names: Option<&'n dyn NameSource>,
    ) -> Self {
        let lines = || Prompt::Lines(io::stdin().lock().lines());
        if !io::stdin().is_terminal() {
            return lines();
        }
        // What can't be edited can still be read.
        // Tab goes as far as the candidates agree, then lists them.
        let config = Config::builder().completion_type(CompletionType::List);
        let Ok(mut editor) = Editor::with_config(config.build()) else {
            return lines();
        };
        catch_interrupts();
        let heaps = processes
            .iter()
            .flat_map(|(process, other)| [Some(process), other.as_ref()])
            .flatten()
            .flat_map(|process| process.heaps.iter().chain(&process.normal_heaps));
        let modules = processes
            .last()
            .into_iter()
            .flat_map(|(process, _)| &process.dump.modules);
        editor.set_helper(Some(Completion {
            heaps: heaps.map(|heap| format!("{:x}", heap.handle)).collect(),
            modules: modules.map(|module| module.name().to_owned()).collect(),
            names,
        }));
        let history = symbols::cache_folder().map(|folder| folder.join("history"));
        if let Some(path) = &history {
            // The first time there is none.
            editor.load_history(path).ok();
        }
        Prompt::Terminal {
            editor: Box::new(editor),
            history,
        }
    }

    fn is_terminal(&self) -> bool {
        matches!(self, Prompt::Terminal { .. })
    }

    /// The next line; `None` at the end.
    fn line(&mut self, label: &str) -> Result<Option<String>, Failure> {
        let editor = match self {
            Prompt::Lines(lines) => return Ok(lines.next().transpose()?),
            Prompt::Terminal { editor, .. } => editor,
        };
        loop {
            match editor.readline(label) {
                Ok(line) => {
                    editor.add_history_entry(line.as_str()).ok();
                    return Ok(Some(line));
                }
                // Ctrl-C clears the line.
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(None),
                Err(ReadlineError::Io(error)) => return Err(error.into()),
                Err(error) => return Err(Failure::Usage(error.to_string())),
            }
        }
    }

    fn close(&mut self) {
        if let Prompt::Terminal {
            editor,
            history: Some(path),
        } = self
        {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).ok();
            }
            // History is a convenience: a folder that can't be written to is no reason to complain.
            editor.save_history(path).ok();
        }
    }
}
