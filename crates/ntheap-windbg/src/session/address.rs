//! `!address`: one region, all of them, or sums.

use std::fmt::Write;

use super::{CommandError, Session, line, wrong};
use crate::words::{self, AddressFilter, AddressRow, AddressTable};

/// What `!address -?` prints.
const USAGE: &str = "\
!address                     all regions, in a table
!address ADDRESS             the region at an address, and what it is for
!address -summary            sums by usage, type, state and protection
!address -f:F1,F2,...        regions that the filters accept: usages (VAR, Free, Image, Stack, TEB, PEB,
                             Heap, Other), MEM_IMAGE|MEM_MAPPED|MEM_PRIVATE, MEM_COMMIT|MEM_FREE|
                             MEM_RESERVE, PAGE_...
!address -o:csv|tsv|1        as a table of values, or the addresses alone
!address -c:\"COMMAND\"        a command for each region: %1 base, %2 end, %3 size, %4 type, %5 state,
                             %6 protection, %7 usage
";

impl Session<'_, '_> {
    pub(super) fn address(&mut self, text: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let mut table = AddressTable::default();
        let (mut summary, mut command, mut address) = (false, None, String::new());
        let (text, quoted) = command_of(text);
        for word in line::words(&text) {
            let lower = word.to_ascii_lowercase();
            let Some(option) = lower.strip_prefix('-') else {
                if !address.is_empty() {
                    address.push(' ');
                }
                address.push_str(word);
                continue;
            };
            // What stands behind the colon, in its own case.
            let operand = word.get(3..).unwrap_or_default();
            match option {
                "summary" => summary = true,
                "?" | "h" | "help" => return Ok(out.write_str(USAGE)?),
                "v" | "map" | "d" => {}
                _ if option.starts_with("f:") => {
                    for name in operand.split([',', '|']).filter(|name| !name.is_empty()) {
                        let filter = AddressFilter::named(name);
                        table.filters.push(filter.ok_or_else(|| {
                            wrong(
                                name,
                                "not a filter: usages, MEM_..., PAGE_... (see !address -?)",
                            )
                        })?);
                    }
                }
                "o:csv" => table.row = AddressRow::Values(','),
                "o:tsv" => table.row = AddressRow::Values('\t'),
                "o:1" => table.row = AddressRow::Addresses,
                _ if option.starts_with("c:") => {
                    command = Some(operand.trim_matches('"').to_owned());
                }
                _ => {
                    return Err(wrong(
                        word,
                        "!address takes an address, -summary, -f: -o: -c: or -?",
                    ));
                }
            }
        }
        command = command.or(quoted);
        if !address.is_empty() {
            let address = self.value(&address)?;
            return Ok(words::address(self.heaps, &self.traces, address, out)?);
        }
        if let Some(command) = command {
            return self.for_each_region(&table, &command, out);
        }
        if summary {
            return Ok(words::address_summary(
                self.heaps,
                &self.traces,
                &table.filters,
                out,
            )?);
        }
        Ok(words::address_table(self.heaps, &self.traces, &table, out)?)
    }

    fn for_each_region(
        &mut self,
        table: &AddressTable,
        command: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let rows = words::address_rows(self.heaps, &self.traces, &table.filters);
        let mut result = Ok(());
        for row in rows {
            let mut text = command.to_owned();
            for (index, value) in row.iter().enumerate() {
                text = text.replace(&format!("%{}", index + 1), value);
            }
            if !self.body(&text, &mut result, out)? {
                break;
            }
        }
        result
    }
}

/// The command in quotes behind `-c:`, in which quotes are escaped, and the text without it.
fn command_of(text: &str) -> (String, Option<String>) {
    let whole = || (text.to_owned(), None);
    let lower = text.to_ascii_lowercase();
    let Some(start) = lower.find("-c:\"") else {
        return whole();
    };
    let quoted = &text[start + 4..];
    let mut escaped = false;
    let end = quoted.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    let Some(end) = end else {
        return whole();
    };
    let command = quoted[..end].replace("\\\"", "\"");
    let rest = format!("{}{}", &text[..start], &quoted[end + 1..]);
    (rest, Some(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_in_quotes_can_have_quotes() {
        let (rest, command) = command_of(r#"-f:Heap -C:"s -a %1 %2 \"a b\"" -o:1"#);
        assert_eq!(rest, "-f:Heap  -o:1");
        assert_eq!(command.as_deref(), Some(r#"s -a %1 %2 "a b""#));
        assert_eq!(command_of("-c:k").1, None);
        assert_eq!(command_of("-c:\"k").1, None);
    }
}
