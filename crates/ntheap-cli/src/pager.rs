//! Output of a command at the prompt: a page at a time, and stopped by Ctrl-C.

use std::{
    fmt::{self, Write},
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

use console::{Key, Term};

use crate::{failure::Failure, output::Output};

/// Set by Ctrl-C until the command that it stops has ended.
static STOP: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C stops the command; pressed again before it has ended, the program.
pub(crate) fn catch_interrupts() -> bool {
    const STATUS: i32 = 130;
    static CAUGHT: LazyLock<bool> = LazyLock::new(|| {
        let caught = ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(STATUS);
            }
        });
        caught.is_ok()
    });
    *CAUGHT
}

/// Where a command writes to.
pub(crate) struct Pager<'o> {
    output: &'o mut Output,
    terminal: Option<Term>,
    /// Lines of the page so far.
    lines: usize,
    /// Why the output ended early, unless the user wanted it to.
    failure: Option<Failure>,
}

impl<'o> Pager<'o> {
    /// Pages only if `paged`.
    pub(crate) fn new(output: &'o mut Output, paged: bool) -> Self {
        STOP.store(false, Ordering::Relaxed);
        Pager {
            output,
            terminal: paged.then(Term::stdout),
            lines: 0,
            failure: None,
        }
    }

    /// Ends the output of a command.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        // What stopped this command does not end the program at the next prompt.
        STOP.store(false, Ordering::Relaxed);
        match self.failure {
            Some(failure) => Err(failure),
            None => self.output.flush(),
        }
    }

    fn put(&mut self, text: &str) -> fmt::Result {
        let written = self.output.text(|out| out.write_str(text));
        written.map_err(|failure| {
            self.failure = Some(failure);
            fmt::Error
        })
    }

    /// Whether to go on after a full page.
    fn turn(&mut self) -> Result<bool, Failure> {
        let Some(terminal) = &self.terminal else {
            return Ok(true);
        };
        self.output.flush()?;
        terminal.write_str("-- more: any key; q stops --")?;
        // Raw: otherwise Ctrl-C comes as a signal too, which may arrive during the next command.
        let key = terminal.read_key_raw();
        terminal.clear_line()?;
        self.lines = 0;
        let quit = matches!(
            key,
            Err(_) | Ok(Key::Char('q' | 'Q') | Key::Escape | Key::CtrlC)
        );
        Ok(!quit)
    }
}

impl Write for Pager<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if STOP.load(Ordering::Relaxed) {
            return Err(fmt::Error);
        }
        let Some(terminal) = &self.terminal else {
            return self.put(text);
        };
        // A narrow window breaks lines in two, so that a page of long lines is more than a page.
        let (rows, columns) = terminal.size();
        let (rows, columns) = (usize::from(rows).max(4), usize::from(columns).max(1));
        for line in text.split_inclusive('\n') {
            self.put(line)?;
            if line.ends_with('\n') {
                self.lines += line.len().div_ceil(columns).max(1);
            }
            if self.lines + 1 >= rows {
                match self.turn() {
                    Ok(true) => {}
                    Ok(false) => return Err(fmt::Error),
                    Err(failure) => {
                        self.failure = Some(failure);
                        return Err(fmt::Error);
                    }
                }
            }
        }
        Ok(())
    }
}
