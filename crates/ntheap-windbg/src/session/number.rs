//! `?`, `??`, `.formats`, `.printf`, `n`: numbers and text.

use std::fmt::Write;

use super::{CommandError, Session, wrong};
use crate::words;
use ntheap::layout::Bitness;

impl Session<'_, '_> {
    /// A value as a signed number of the process's pointers.
    fn signed(&self, value: u64) -> i64 {
        match self.process.bitness {
            Bitness::X64 => value as i64,
            Bitness::X86 => i64::from(value as i32),
        }
    }

    /// `? EXPRESSION`.
    pub(super) fn number(&self, text: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        if text.is_empty() {
            // What `?` alone prints: a list of commands.
            return Ok(writeln!(out, "{}", super::COMMANDS.join(" "))?);
        }
        let value = self.value(text)?;
        let shown = words::back_quoted(value, self.process.bitness);
        let signed = self.signed(value);
        Ok(writeln!(out, "Evaluate expression: {signed} = {shown}")?)
    }

    /// `?? EXPRESSION`, in the words of C: numbers are decimal, `sizeof(TYPE)`,
    /// `#FIELD_OFFSET(TYPE, FIELD)`, pointers to structures and their fields.
    pub(super) fn typed_number(&self, text: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(wrong("??", "an expression is expected"));
        }
        let (text, field) = match text.split_once("->") {
            Some((text, field)) => (text.trim(), Some(field.trim().replace("->", "."))),
            None => (text, None),
        };
        let pointer = |text: &str| -> Option<(String, String)> {
            // Two pseudo-registers are pointers of types.
            match text.trim().trim_matches(['(', ')']) {
                "@$peb" | "$peb" => return Some(("ntdll!_PEB".to_owned(), "@$peb".to_owned())),
                "@$teb" | "$teb" => return Some(("ntdll!_TEB".to_owned(), "@$teb".to_owned())),
                _ => {}
            }
            // (TYPE*)ADDRESS, in any number of brackets.
            let inner = text.trim().trim_start_matches('(');
            let (type_name, address) = inner.split_once("*)")?;
            let type_name = type_name.trim().trim_start_matches("struct ").to_owned();
            let open = address.matches('(').count();
            let closed = address.matches(')').count();
            let address = address.trim();
            let end = address.len() - closed.saturating_sub(open).min(address.len());
            let address = address.get(..end)?;
            Some((type_name, address.to_owned()))
        };
        if field.is_some() && pointer(text).is_none() {
            return Err(wrong(
                text,
                "a pointer of a known type is expected: ((TYPE*)ADDRESS)->FIELD",
            ));
        }
        if let Some((type_name, address)) = pointer(text) {
            return self.structure_at(&type_name, &address, field, out);
        }
        let (value, size) = self.typed_value(text)?;
        let kind = match (size, self.process.bitness) {
            (true, Bitness::X64) => "unsigned int64",
            (true, Bitness::X86) => "unsigned int",
            _ if i32::try_from(value as i64).is_ok() => {
                return Ok(writeln!(out, "int 0n{}", value as i64)?);
            }
            _ => "unsigned int64",
        };
        Ok(writeln!(out, "{kind} {value:#x}")?)
    }

    /// The value of an expression of C, and whether it is a size.
    fn typed_value(&self, text: &str) -> Result<(u64, bool), CommandError> {
        let mut masm = String::new();
        let (mut rest, mut size) = (text, false);
        // Sizes and offsets become numbers, and decimal numbers what they are called here.
        while let Some(c) = rest.chars().next() {
            let function = ["sizeof", "#FIELD_OFFSET"]
                .iter()
                .find(|f| rest.starts_with(**f));
            if let Some(function) = function
                && let Some((inner, behind)) =
                    super::line::bracketed(&rest[function.len()..], '(', ')')
            {
                let (type_name, field) = match inner.split_once(',') {
                    Some((type_name, field)) => (type_name.trim(), Some(field.trim())),
                    None => (inner.trim(), None),
                };
                let value = self.size_of(type_name, field);
                let value = value.ok_or_else(|| wrong(inner, "no such type is known"))?;
                write!(masm, "0x{value:x}")?;
                (rest, size) = (behind, true);
                continue;
            }
            if c.is_ascii_digit() {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '`');
                let (number, behind) = rest.split_at(end.unwrap_or(rest.len()));
                let decimal = number.bytes().all(|b| b.is_ascii_digit());
                let prefix = if decimal { "0n" } else { "" };
                write!(masm, "{prefix}{number}")?;
                rest = behind;
                continue;
            }
            if c.is_alphabetic() || "@$_!".contains(c) {
                let end = rest.find(|c: char| !c.is_alphanumeric() && !"@$_!:".contains(c));
                let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
                masm.push_str(name);
                rest = behind;
                continue;
            }
            masm.push(c);
            rest = &rest[c.len_utf8()..];
        }
        Ok((self.value(&masm)?, size))
    }

    /// Size of a type, or the place of a field in it, in bytes.
    pub(super) fn size_of(&self, type_name: &str, field: Option<&str>) -> Option<u64> {
        let type_name = type_name.trim_start_matches("struct ").trim();
        let pointer = self.process.bitness.pointer_size();
        if field.is_none() {
            if type_name.ends_with('*') {
                return Some(pointer);
            }
            let basic = match type_name {
                "char" | "unsigned char" | "bool" | "BYTE" | "UCHAR" => 1,
                "short" | "unsigned short" | "wchar_t" | "WORD" | "USHORT" => 2,
                "int" | "unsigned int" | "long" | "unsigned long" | "float" | "DWORD" | "ULONG" => {
                    4
                }
                "double" | "__int64" | "unsigned __int64" | "long long" | "ULONG64" => 8,
                _ => 0,
            };
            if basic > 0 {
                return Some(basic);
            }
        }
        let (module, name) = match type_name.split_once('!') {
            Some((module, name)) => (Some(module), name),
            None => (None, type_name),
        };
        let (_, types, id) = self.find_type(module, name)?;
        let structure = types.structure(id)?;
        match field {
            None => Some(structure.size.into()),
            Some(field) => {
                let fields = structure.fields.iter();
                let mut named = fields.filter(|f| f.name.eq_ignore_ascii_case(field));
                named.next().map(|field| field.offset.into())
            }
        }
    }

    fn structure_at(
        &self,
        type_name: &str,
        address: &str,
        field: Option<String>,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let address = self.value(address)?;
        let mut operands = vec![type_name.to_owned(), format!("{address:#x}")];
        operands.extend(field);
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        if let [name, ..] = operands[..] {
            let bare = name.rsplit('!').next().unwrap_or(name);
            writeln!(
                out,
                "struct {bare} * 0x{}",
                words::back_quoted(address, self.process.bitness)
            )?;
        }
        self.dt(&operands, out)
    }

    /// `.formats EXPRESSION`.
    pub(super) fn formats(&self, text: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let value = self.value(text)?;
        let signed = self.signed(value);
        Ok(words::formats(value, signed, self.process.bitness, out)?)
    }

    /// `n`, `n 10`: base of numbers without a prefix.
    pub(super) fn set_radix(
        &mut self,
        text: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        self.radix = match text {
            "" => self.radix,
            "8" => 8,
            "10" | "0n10" => 10,
            "16" | "0n16" => 16,
            _ => return Err(wrong(text, "the base of numbers is 8, 10 or 16")),
        };
        Ok(writeln!(out, "base is {}", self.radix)?)
    }

    /// `.printf "FORMAT", VALUE, …`.
    pub(super) fn print_formatted(
        &self,
        text: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        // `/D` asks for links, which text has none of.
        let text = text.strip_prefix("/D").unwrap_or(text).trim_start();
        let (format, rest) = match text.strip_prefix('"') {
            Some(quoted) => {
                let mut escaped = false;
                let end = quoted.find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                let end = end.ok_or_else(|| wrong(text, "a format in quotes is expected"))?;
                (&quoted[..end], quoted[end + 1..].trim_start())
            }
            None => (text, ""),
        };
        let mut values = Vec::new();
        let mut rest = rest;
        while let Some(behind) = rest.strip_prefix(',') {
            let (value, behind) = self.value_at(behind)?;
            values.push(value);
            rest = behind;
        }
        if !rest.is_empty() {
            return Err(wrong(rest, "a comma is expected"));
        }
        let of_memory = words::printf_reads_memory(format);
        if of_memory {
            self.may_show_contents()?;
        }
        let shown = words::printf(self.process, self.names, format, &values, out)?;
        match shown {
            true => Ok(()),
            false => Err(wrong(format, "a value is missing")),
        }
    }
}
