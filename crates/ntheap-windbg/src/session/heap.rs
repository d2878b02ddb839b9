//! `!heap`: which of its reports, on which heap.

use std::fmt::Write;

use super::{CommandError, Session, wrong};
use crate::words::{self, Detail, ReportOptions, SummaryOptions};
use ntheap::stats::{self, Order};

/// Options of page heap and of breakpoints that a dump can't answer, and what comes nearest.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &["-d", "-e"],
        "a dump can't be changed: checks of heaps are not switched; `!heap -triage` and `ntheap verify` \
         look for damage",
    ),
    (
        &["-b", "-bp", "-r", "-w"],
        "a dump can't be run: breakpoints are not set; `ntheap stacks` shows who allocated",
    ),
    (
        &["-fi", "-t", "-ts", "-tc", "-cc"],
        "traces of page heap are not listed by number: `!heap -p -a ADDRESS` shows the stack of a \
         block, `ntheap stacks` all of them",
    ),
];

const NO_OPTION: CommandError = CommandError::Unavailable {
    reason: "there is no such option here; `!heap -?` lists those there are",
};

fn refusal(option: &str) -> Option<CommandError> {
    let row = REFUSED
        .iter()
        .find(|(options, _)| options.contains(&option));
    row.map(|(_, reason)| CommandError::Unavailable { reason })
}

impl Session<'_, '_> {
    /// A heap, by handle or by the index that lists show; 0 or nothing stands for all.
    fn heap_operand(&self, text: Option<&&str>) -> Result<Option<u64>, CommandError> {
        let Some(text) = text else {
            return Ok(None);
        };
        let value = self.value(text)?;
        if value == 0 {
            return Ok(None);
        }
        let heaps = &self.process.heaps;
        let by_index = || heaps.get(usize::try_from(value).ok()?.checked_sub(1)?);
        let normal = &self.process.normal_heaps;
        if heaps.iter().chain(normal).any(|heap| heap.handle == value) {
            return Ok(Some(value));
        }
        by_index()
            .map(|heap| Some(heap.handle))
            .ok_or_else(|| wrong(text, "not the handle of a heap"))
    }

    pub(super) fn heap(&self, arguments: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let Some((option, rest)) = arguments.split_first() else {
            return Ok(words::list(self.heaps, out)?);
        };
        match option.to_ascii_lowercase().as_str() {
            "-?" | "/?" | "-help" => Ok(out.write_str(HEAP_USAGE)?),
            _ if rest.contains(&"-?") => Ok(out.write_str(HEAP_USAGE)?),
            // A heap alone, or 0 for all.
            heap if !heap.starts_with('-') => {
                let only = self.heap_operand(Some(option))?;
                Ok(words::headers(self.heaps, only, Detail::default(), out)?)
            }
            "-h" | "-a" | "-m" | "-f" | "-v" | "-hl" => {
                let detail = Detail::of_option(option).unwrap_or_default();
                self.headers(detail, rest, out)
            }
            "-p" => self.heap_p(rest, out),
            "-s" => self.summary(rest, out),
            "-stat" => self.stat(rest, out),
            "-flt" => self.filter(rest, out),
            "-triage" => self.triage(rest, out),
            "-srch" => self.search_blocks(rest, out),
            "-l" => {
                let (heaps, traces) = (self.heaps, &self.traces);
                Ok(words::unreachable(heaps, traces, self.names, out)?)
            }
            "-g" => Ok(words::tags_of_modules(self.heaps, out)?),
            _ if option == &"-T" => match self.heap_operand(rest.first())? {
                Some(handle) => Ok(words::pseudo_tags(self.heaps, handle, out)?),
                None => self.headers(Detail::default(), &[], out),
            },
            "-t" => self.headers(Detail::default(), &[], out),
            "-k" => {
                let only = self.heap_operand(rest.first())?;
                Ok(words::headers(self.heaps, only, Detail::default(), out)?)
            }
            "-x" => {
                let verbose = rest.iter().any(|word| word.eq_ignore_ascii_case("-v"));
                let operand = rest.iter().find(|word| !word.starts_with('-'));
                let address = self.value(operand.copied().unwrap_or_default())?;
                Ok(words::find(self.heaps, address, verbose, out)?)
            }
            other => Err(refusal(other).unwrap_or(NO_OPTION)),
        }
    }

    fn headers(
        &self,
        detail: Detail,
        operands: &[&str],
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let is_option = |word: &&&str| word.starts_with('-');
        let others = operands.iter().filter(is_option);
        let mut detail = others
            .filter_map(|option| Detail::of_option(option))
            .fold(detail, Detail::and);
        let heap = operands.iter().find(|word| !is_option(word));
        if heap.is_none() {
            detail = Detail::default();
        }
        let only = self.heap_operand(heap)?;
        Ok(words::headers(self.heaps, only, detail, out)?)
    }

    fn summary(&self, operands: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let flag = |name| operands.iter().any(|word| word.eq_ignore_ascii_case(name));
        let options = SummaryOptions {
            verbose: flag("-v"),
            ..SummaryOptions::named(self.process, self.names)
        };
        let after = |name: &str| {
            let at = operands
                .iter()
                .position(|word| word.eq_ignore_ascii_case(name))?;
            operands.get(at + 1)
        };
        let operand = after("-h").or_else(|| operands.iter().find(|word| !word.starts_with('-')));
        if let Some(handle) = self.heap_operand(operand)? {
            // Of a page heap the debugger knows the normal heap alone.
            let listed = self.heaps.iter().find(|heap| heap.handle() == handle);
            let heap = listed.ok_or_else(|| CommandError::Operand {
                text: format!("{handle:x}"),
                reason: "not the handle of a heap",
            })?;
            let mut report = ReportOptions {
                verbose: options.verbose,
                entries: flag("-a"),
                ..ReportOptions::default()
            };
            if let Some(text) = after("-b") {
                report.bucket = Some(self.value(text)?);
            }
            return Ok(words::report(self.process, heap, report, out)?);
        }
        Ok(words::summary(self.heaps, &options, self.names, out)?)
    }

    fn stat(&self, operands: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let bitness = self.process.bitness;
        let after = |name: &str| {
            let at = operands
                .iter()
                .position(|word| word.eq_ignore_ascii_case(name))?;
            operands.get(at + 1..)
        };
        let typed = operands.first().filter(|word| !word.starts_with('-'));
        let handle = match (after("-h"), typed) {
            (Some(handle), _) => handle,
            // The heap without its option, or how to group the blocks of all.
            (None, Some(_)) => operands,
            (None, None) if after("-grp").is_some() => &[],
            (None, None) => return Ok(words::heap_sizes(self.heaps, bitness, out)?),
        };
        let group = after("-grp").unwrap_or_default();
        let order = match group
            .first()
            .map(|word| word.to_ascii_uppercase())
            .as_deref()
        {
            Some("A") => Order::Size,
            Some("B") => Order::Blocks,
            None | Some("S") => Order::Total,
            Some(_) => {
                return Err(wrong(
                    group[0],
                    "-grp takes A (size), B (count) or S (total)",
                ));
            }
        };
        let rows = match group.get(1) {
            Some(text) => usize::try_from(self.value(text)?).unwrap_or(usize::MAX),
            None => words::DEFAULT_ROWS,
        };
        let handle = match handle.first().filter(|word| !word.starts_with('-')) {
            Some(text) => self.value(text)?,
            None => 0,
        };
        let statistics = stats::collect(self.heaps);
        if handle == 0 {
            words::all_block_sizes(&statistics, bitness, order, rows, out)?;
        } else {
            let behind = stats::behind_page_heap(self.heaps, handle);
            let heap = statistics.iter().find(|heap| heap.handle == handle);
            words::block_sizes(handle, heap.or(behind.as_ref()), bitness, order, rows, out)?;
        }
        Ok(())
    }

    /// `-flt s SIZE`, `-flt r FROM TO`, of all heaps or (`-h H`) of one.
    fn filter(&self, operands: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let of_heap = operands
            .iter()
            .position(|word| word.eq_ignore_ascii_case("-h"));
        let (operands, only) = match of_heap {
            Some(at) => (&operands[..at], self.heap_operand(operands.get(at + 1))?),
            None => (operands, None),
        };
        let wrong = || {
            // The message of the debugger, for the criteria that it does not understand either.
            format!("cound not parse flt criteria -flt {}\n", operands.join(" "))
        };
        let number = |index: usize| {
            let text = operands.get(index)?;
            self.value(text).ok().filter(|&value| value != 0)
        };
        let kind = operands.first().map(|word| word.to_ascii_lowercase());
        let sizes = match kind.as_deref() {
            Some("s") => number(1).map(|size| size..=size),
            // The upper bound, which is not 0, is not taken in.
            Some("r") => number(1).zip(number(2)).map(|(from, to)| from..=to - 1),
            _ => None,
        };
        let Some(sizes) = sizes else {
            return Ok(out.write_str(&wrong())?);
        };
        words::filter_heap(self.heaps, only, sizes, self.names, out)?;
        Ok(())
    }

    /// `-triage`, of all heaps or of the one that an address lies in.
    fn triage(&self, operands: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let Some(operand) = operands.iter().find(|word| !word.starts_with('-')) else {
            return Ok(words::triage(self.heaps, None, out)?);
        };
        let only = match self.heap_operand(Some(operand)) {
            Ok(only) => only,
            Err(error) => {
                let address = self.value(operand)?;
                let owner = words::owner(self.heaps, address);
                Some(owner.ok_or(error)?)
            }
        };
        Ok(words::triage(self.heaps, only, out)?)
    }

    /// `-srch [-b|-w|-d|-q] PATTERN`, also `-srch [-n SIZE] PATTERN`: the blocks that hold a pattern.
    fn search_blocks(&self, operands: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        self.may_show_contents()?;
        let mut size = self.process.bitness.pointer_size();
        let mut rest = operands;
        while let Some((option, behind)) = rest.split_first() {
            let Some(letter) = option.strip_prefix('-') else {
                break;
            };
            size = match letter.to_ascii_lowercase().as_str() {
                "b" | "1" => 1,
                "w" | "2" => 2,
                "d" | "4" => 4,
                "q" | "8" => 8,
                _ => {
                    return Err(wrong(option, "-srch takes -b, -w, -d or -q and a pattern"));
                }
            };
            rest = behind;
        }
        let text = rest.join(" ");
        if text.starts_with('"') {
            return Err(wrong(
                &text,
                "-srch takes a number; `s -a` and `s -u` search for text",
            ));
        }
        let value = self.value(&text)?;
        let pattern = &value.to_le_bytes()[..size as usize];
        let fits = size == 8 || value >> (size * 8) == 0;
        if !fits {
            return Err(CommandError::Operand {
                text: rest.join(" "),
                reason: "the pattern is longer than what is searched for",
            });
        }
        Ok(words::blocks_with(self.heaps, self.names, pattern, out)?)
    }

    fn heap_p(&self, arguments: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let Some((option, rest)) = arguments.split_first() else {
            return Ok(words::overview(self.heaps, &self.traces, out)?);
        };
        match option.to_ascii_lowercase().as_str() {
            "-all" => Ok(words::blocks(self.heaps, self.names, None, out)?),
            "-h" => {
                let only = self.heap_operand(rest.first())?;
                Ok(words::blocks(self.heaps, self.names, only, out)?)
            }
            "-a" => {
                let address = self.value(rest.first().copied().unwrap_or_default())?;
                let traces = &self.traces;
                Ok(words::block_at(
                    self.heaps, traces, self.names, address, out,
                )?)
            }
            // `-p` is what a heap without page heap has as its own report.
            "-p" => Ok(words::overview(self.heaps, &self.traces, out)?),
            other => Err(refusal(other).unwrap_or(NO_OPTION)),
        }
    }
}

/// What `!heap -?` prints.
const HEAP_USAGE: &str = "\
!heap                        all heaps
!heap -s [-v] [-h H [-a] [-b N]]
                             a table of the heaps, or a report on one
!heap -stat [-h H [-grp A|B|S [N]]]
                             sizes of heaps, or of blocks by size
!heap -flt s SIZE | r FROM TO [-h H]
                             blocks of a size, or of sizes in a range
!heap -srch [-b|-w|-d|-q] PATTERN
                             blocks that hold a pattern
!heap -p [-all | -h H | -a A]
                             flags, blocks, or the block at an address with its stack
!heap -x [-v] A              the entry at an address, and pointers to it
!heap -l                     blocks that nothing points to
!heap -a|-h|-hl|-m|-f|-v H   header, entries, slots, segments, free lists of a heap; 0: all
!heap -i H | -i A            an entry in detail
!heap -triage [H | A]        damage
!heap -g, -T H, -t, -k       tags
";
