//! Patterns, as the debugger's commands take them.

/// Whether `text` matches `pattern`, in which `*` stands for any text and `?` for any character;
/// case does not count.
#[must_use]
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when the text after the last star does not match.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c.eq_ignore_ascii_case(&text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after_star, from)) => {
                    retry = Some((after_star, from + 1));
                    p = after_star;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

/// Whether a type or function of this full name is meant by `wanted`: by the whole name, by its end
/// behind a `::` (`Session` for `depot::Session`), or by a pattern.
#[must_use]
pub fn is_meant(wanted: &str, name: &str) -> bool {
    if wanted.contains(['*', '?']) {
        return matches_pattern(wanted, name);
    }
    name.strip_suffix(wanted)
        .is_some_and(|scope| scope.is_empty() || scope.ends_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("*ab", "aab", true),
            ("a**", "a", true),
        ] {
            assert_eq!(matches_pattern(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn names_are_meant_by_their_ends() {
        for (wanted, expected) in [
            ("depot::Session", true),
            ("Session", true),
            ("pot::Session", false),
            ("ession", false),
            ("session", false),
            ("*session", true),
            ("depot::*", true),
            ("", false),
        ] {
            assert_eq!(is_meant(wanted, "depot::Session"), expected, "{wanted}");
        }
        assert!(is_meant("Box<int>", "depot::Box<int>"));
    }
}
