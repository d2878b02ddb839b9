//! Words for command lines that a report advises.

/// A program's name for a command that somebody may copy to a shell: what would do more there than name
/// the program is not repeated.
#[must_use]
pub fn shell_word(program: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "._-".contains(c);
    let is_quotable = |c: char| is_plain(c) || " ()+,=@[]{}~".contains(c);
    if program.is_empty() || program.starts_with('-') || !program.chars().all(is_quotable) {
        return "PROGRAM.exe".to_owned();
    }
    match program.chars().all(is_plain) {
        true => program.to_owned(),
        false => format!("\"{program}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::shell_word;

    #[test]
    fn programs_in_commands() {
        assert_eq!(shell_word("order-svc.exe"), "order-svc.exe");
        assert_eq!(shell_word("order svc (2).exe"), "\"order svc (2).exe\"");
        for name in [
            "",
            "a&calc.exe",
            "a\"b",
            "$(x)",
            "`x`",
            "-x",
            "%x%",
            "a\nb",
            "a;b",
            "a|b",
        ] {
            assert_eq!(shell_word(name), "PROGRAM.exe", "{name:?}");
        }
    }
}
