//! Types inside of decorated names.

use super::{MAX_LENGTH, Parser, limited};

/// A type's text before and after the place of the declared name.
#[derive(Clone, Default)]
pub(super) struct Type {
    pub(super) left: String,
    pub(super) right: String,
    /// A function or an array, which needs brackets round a pointer's sign.
    compound: bool,
}

impl Type {
    fn plain(left: impl Into<String>) -> Self {
        Self {
            left: left.into(),
            ..Self::default()
        }
    }

    pub(super) fn text(&self) -> String {
        format!("{}{}", self.left, self.right)
    }
}

impl Parser<'_> {
    /// Qualifiers of a pointee or of `this`; what precedes `const` and `volatile` is not printed.
    pub(super) fn qualifiers(&mut self) -> Option<&'static str> {
        while matches!(self.peek(), Some('E' | 'F' | 'I' | 'G' | 'H')) {
            self.next();
        }
        Some(match self.next()? {
            'A' | 'Q' => "",
            'B' | 'R' => " const",
            'C' | 'S' => " volatile",
            'D' | 'T' => " const volatile",
            _ => return None,
        })
    }

    pub(super) fn type_(&mut self) -> Option<Type> {
        self.nested(|p| {
            let t = p.type_inner()?;
            (t.left.len() + t.right.len() <= MAX_LENGTH).then_some(t)
        })
    }

    fn type_inner(&mut self) -> Option<Type> {
        let name = match self.next()? {
            'C' => "signed char",
            'D' => "char",
            'E' => "unsigned char",
            'F' => "short",
            'G' => "unsigned short",
            'H' => "int",
            'I' => "unsigned int",
            'J' => "long",
            'K' => "unsigned long",
            'M' => "float",
            'N' => "double",
            'O' => "long double",
            'X' => "void",
            '_' => match self.next()? {
                'D' => "__int8",
                'E' => "unsigned __int8",
                'F' => "__int16",
                'G' => "unsigned __int16",
                'H' => "__int32",
                'I' => "unsigned __int32",
                'J' => "__int64",
                'K' => "unsigned __int64",
                'L' => "__int128",
                'M' => "unsigned __int128",
                'N' => "bool",
                'Q' => "char8_t",
                'S' => "char16_t",
                'U' => "char32_t",
                'W' => "wchar_t",
                'P' => "auto",
                'T' => "decltype(auto)",
                _ => return None,
            },
            'T' => return self.named("union "),
            'U' => return self.named("struct "),
            'V' => return self.named("class "),
            'W' => {
                self.next()?;
                return self.named("enum ");
            }
            'A' => return self.pointer("&", ""),
            'B' => return self.pointer("&", " volatile"),
            'P' => return self.pointer("*", ""),
            'Q' => return self.pointer("*", " const"),
            'R' => return self.pointer("*", " volatile"),
            'S' => return self.pointer("*", " const volatile"),
            'Y' => return self.array(),
            '?' => {
                let qualifiers = self.qualifiers()?;
                let mut t = self.type_()?;
                t.left.push_str(qualifiers);
                return Some(t);
            }
            '$' if self.eat("$") => match self.next()? {
                'Q' => return self.pointer("&&", ""),
                'R' => return self.pointer("&&", " volatile"),
                'T' => "std::nullptr_t",
                'A' => {
                    let is_member = match self.next()? {
                        '6' => false,
                        '8' => self.eat("@@"),
                        _ => return None,
                    };
                    return self.function(is_member).map(Function::into_type);
                }
                'B' => return self.type_(),
                'C' => {
                    let qualifiers = self.qualifiers()?;
                    let mut t = self.type_()?;
                    t.left.push_str(qualifiers);
                    return Some(t);
                }
                _ => return None,
            },
            _ => return None,
        };
        Some(Type::plain(name))
    }

    fn named(&mut self, key: &str) -> Option<Type> {
        self.qualified_name(false)
            .map(|name| Type::plain(format!("{key}{name}")))
    }

    fn pointer(&mut self, sign: &str, own: &str) -> Option<Type> {
        if self.eat("6") {
            let function = self.function(false)?;
            return Some(function.into_pointer(sign, own, ""));
        }
        if self.eat("8") {
            let class = self.qualified_name(false)?;
            let function = self.function(true)?;
            return Some(function.into_pointer(sign, own, &format!("{class}::")));
        }
        while matches!(self.peek(), Some('E' | 'F' | 'I')) {
            self.next();
        }
        let of_member = matches!(self.peek(), Some('Q' | 'R' | 'S' | 'T'));
        let qualifiers = self.qualifiers()?;
        let class = if of_member {
            format!("{}::", self.qualified_name(false)?)
        } else {
            String::new()
        };
        let pointee = self.type_()?;
        Some(if pointee.compound {
            Type {
                left: format!("{}{qualifiers} ({class}{sign}{own}", pointee.left),
                right: format!("){}", pointee.right),
                compound: false,
            }
        } else {
            Type::plain(format!(
                "{}{qualifiers} {class}{sign}{own}{}",
                pointee.left, pointee.right
            ))
        })
    }

    fn array(&mut self) -> Option<Type> {
        let dimensions: usize = self.number()?.parse().ok()?;
        let mut right = String::new();
        for _ in 0..dimensions {
            right.push('[');
            right.push_str(&self.number()?);
            right.push(']');
            right = limited(right)?;
        }
        let element = self.type_()?;
        right.push_str(&element.right);
        Some(Type {
            left: element.left,
            right,
            compound: true,
        })
    }
}

pub(super) struct Function {
    pub(super) this: &'static str,
    pub(super) convention: &'static str,
    pub(super) returns: Option<Type>,
    pub(super) arguments: String,
}

impl Function {
    fn into_type(self) -> Type {
        let returns = self.returns.unwrap_or_default();
        Type {
            left: format!("{} {}", returns.left, self.convention),
            right: format!("({}){}{}", self.arguments, self.this, returns.right),
            compound: true,
        }
    }

    fn into_pointer(self, sign: &str, own: &str, class: &str) -> Type {
        let returns = self.returns.unwrap_or_default();
        let space = if class.is_empty() { "" } else { " " };
        Type {
            left: format!(
                "{} ({}{space}{class}{sign}{own}",
                returns.left, self.convention
            ),
            right: format!(")({}){}{}", self.arguments, self.this, returns.right),
            compound: false,
        }
    }
}
