//! Reads the decorated names that Visual C++ and compatible compilers write: those of symbols, and
//! those of classes in type descriptors.
//!
//! ```
//! use ntheap::undecorate::{type_name, undecorate};
//!
//! let name = undecorate("?Allocate@core@app@@YAPEAX_K@Z").expect("a decorated name");
//! assert_eq!(name.name, "app::core::Allocate");
//! assert_eq!(name.arguments.as_deref(), Some("(unsigned __int64)"));
//! assert_eq!(type_name(".?AV?$Box@H@app@@").as_deref(), Some("app::Box<int>"));
//! ```
//!
//! Types and names are kept as finished text, whose length is limited: references back to earlier
//! parts could otherwise make a short decorated name grow without bounds.

mod operators;
mod types;

use types::{Function, Type};

/// No decorated name longer than this is looked at, and no part of the result may be longer.
const MAX_LENGTH: usize = 4096;
const MAX_DEPTH: usize = 100;

/// The parts of an undecorated name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undecorated {
    /// Scopes and name, for instance `app::core::Allocate`.
    pub name: String,
    /// Argument list of a function, for instance `(void *,unsigned int)`, and `const` if any.
    pub arguments: Option<String>,
}

/// Undecorates `decorated`, which begins with `?`, or says that it cannot.
#[must_use]
pub fn undecorate(decorated: &str) -> Option<Undecorated> {
    if decorated.len() > MAX_LENGTH || !decorated.is_ascii() {
        return None;
    }
    if decorated.starts_with("??_C@") {
        return Some(Undecorated {
            name: "`string'".to_owned(),
            arguments: None,
        });
    }
    let mut parser = Parser::new(decorated);
    parser.symbol()
}

/// The name of a class, struct or union as a type descriptor of the run-time type information has
/// it (`.?AVFoo@app@@`), without the keyword in front of it.
#[must_use]
pub fn type_name(descriptor: &str) -> Option<String> {
    let decorated = descriptor.strip_prefix('.')?;
    if decorated.len() > MAX_LENGTH || !decorated.is_ascii() {
        return None;
    }
    let mut parser = Parser::new(decorated);
    let text = parser.type_()?.text();
    if !parser.rest.is_empty() {
        return None;
    }
    let keys = ["class ", "struct ", "union "];
    let name = keys.iter().find_map(|key| text.strip_prefix(key))?;
    Some(name.to_owned())
}

struct Parser<'s> {
    rest: &'s str,
    names: Vec<String>,
    arguments: Vec<Type>,
    depth: usize,
}

impl<'s> Parser<'s> {
    fn new(decorated: &'s str) -> Self {
        Self {
            rest: decorated,
            names: Vec::new(),
            arguments: Vec::new(),
            depth: 0,
        }
    }

    fn eat(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        Some(next)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn symbol(&mut self) -> Option<Undecorated> {
        self.nested(|p| {
            if !p.eat("?") {
                return None;
            }
            let name = p.qualified_name(true)?;
            let (arguments, conversion) = p.encoding()?;
            let name = match conversion {
                // A conversion operator is named by the type that it returns.
                Some(to) if name.ends_with("operator ") => format!("{name}{to}"),
                _ => name,
            };
            Some(Undecorated {
                name: limited(name)?,
                arguments,
            })
        })
    }

    /// A name and its scopes, up to and with the `@` that ends them.
    fn qualified_name(&mut self, is_symbol: bool) -> Option<String> {
        let mut structor = None;
        let first = if is_symbol && self.rest.starts_with('?') && !self.rest.starts_with("?$") {
            self.rest = &self.rest[1..];
            self.operator(&mut structor)?
        } else {
            self.name_piece(&mut structor)?
        };
        let mut scopes = Vec::new();
        while !self.eat("@") {
            scopes.push(self.scope()?);
        }
        let first = match structor {
            // Constructors and destructors are named like their class, without template arguments.
            Some(tilde) => {
                let class = scopes.first()?;
                let class = class
                    .split('<')
                    .next()
                    .filter(|c| !c.is_empty())
                    .unwrap_or(class);
                format!("{}{class}{first}", if tilde { "~" } else { "" })
            }
            None => first,
        };
        let mut name = String::new();
        for scope in scopes.iter().rev() {
            name.push_str(scope);
            name.push_str("::");
        }
        name.push_str(&first);
        limited(name)
    }

    fn scope(&mut self) -> Option<String> {
        if self.rest.starts_with("?$") {
            return self.name_piece(&mut None);
        }
        if self.eat("?A") {
            let end = self.rest.find('@')?;
            self.rest = &self.rest[end + 1..];
            let name = "`anonymous namespace'".to_owned();
            // Each one takes a place of its own among the names that can be referred to.
            if self.names.len() < 10 {
                self.names.push(name.clone());
            }
            return Some(name);
        }
        if self.eat("?") {
            let number = self.number()?;
            if !self.eat("?") {
                return None;
            }
            let outer = self.symbol()?;
            return limited(format!("`{}'::`{number}'", outer.name));
        }
        self.name_piece(&mut None)
    }

    /// A simple name, a reference to an earlier one, or a template with its arguments.
    fn name_piece(&mut self, structor: &mut Option<bool>) -> Option<String> {
        if let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            self.next();
            return self.names.get(digit as usize).cloned();
        }
        if self.eat("?$") {
            let name = self.nested(|p| p.template(structor))?;
            self.remember(&name);
            return Some(name);
        }
        let end = self.rest.find('@').filter(|&end| end > 0)?;
        let name = self.rest[..end].to_owned();
        if name.contains('?') {
            return None;
        }
        self.rest = &self.rest[end + 1..];
        self.remember(&name);
        Some(name)
    }

    fn remember(&mut self, name: &str) {
        if self.names.len() < 10 && !self.names.iter().any(|n| n == name) {
            self.names.push(name.to_owned());
        }
    }

    fn template(&mut self, structor: &mut Option<bool>) -> Option<String> {
        let outer_names = std::mem::take(&mut self.names);
        let outer_arguments = std::mem::take(&mut self.arguments);
        let name = if self.eat("?") {
            self.operator(structor)?
        } else {
            self.name_piece(structor)?
        };
        let mut arguments = Vec::new();
        while !self.eat("@") {
            if let Some(argument) = self.template_argument()? {
                arguments.push(argument);
            }
        }
        self.names = outer_names;
        self.arguments = outer_arguments;
        let list = arguments.join(",");
        let space = if list.ends_with('>') { " " } else { "" };
        limited(format!("{name}<{list}{space}>"))
    }

    /// `None` inside stands for an empty pack of arguments.
    #[allow(clippy::option_option)]
    fn template_argument(&mut self) -> Option<Option<String>> {
        if self.eat("$$V") || self.eat("$$Z") || self.eat("$S") {
            return Some(None);
        }
        if self.eat("$$Y") {
            return self.qualified_name(false).map(Some);
        }
        if self.eat("$0") {
            return self.number().map(Some);
        }
        if self.eat("$1") {
            if self.eat("@") {
                return Some(Some("0".to_owned()));
            }
            return self
                .symbol()
                .map(|symbol| Some(format!("&{}", symbol.name)));
        }
        if self.eat("$E") {
            return self.symbol().map(|symbol| Some(symbol.name));
        }
        if self.eat("$M") {
            // The type of an `auto` parameter, then its value.
            self.type_()?;
            return match self.next()? {
                '0' => self.number().map(Some),
                '1' => self
                    .symbol()
                    .map(|symbol| Some(format!("&{}", symbol.name))),
                _ => None,
            };
        }
        self.type_().map(|t| Some(t.text()))
    }

    fn number(&mut self) -> Option<String> {
        let sign = if self.eat("?") { "-" } else { "" };
        let first = self.next()?;
        if let Some(digit) = first.to_digit(10) {
            return Some(format!("{sign}{}", digit + 1));
        }
        let mut value = 0_u64;
        let mut letter = first;
        while letter != '@' {
            if !('A'..='P').contains(&letter) {
                return None;
            }
            value = value
                .checked_mul(16)?
                .checked_add(u64::from(letter as u8 - b'A'))?;
            letter = self.next()?;
        }
        Some(format!("{sign}{value}"))
    }

    /// What follows the name: the kind and type of the symbol. Gives a function's argument list
    /// and the type that it returns.
    fn encoding(&mut self) -> Option<(Option<String>, Option<String>)> {
        let code = self.next()?;
        match code {
            '0'..='4' => {
                self.type_()?;
                self.qualifiers()?;
            }
            '5' => {
                self.number()?;
            }
            '6' | '7' => {
                self.qualifiers()?;
                while !self.eat("@") {
                    self.qualified_name(false)?;
                }
            }
            '8' | '9' => {}
            'A'..='Z' => {
                let thunk = matches!(code, 'G' | 'H' | 'O' | 'P' | 'W' | 'X');
                let is_static = matches!(code, 'C' | 'D' | 'K' | 'L' | 'S' | 'T' | 'Y' | 'Z');
                if thunk {
                    self.number()?;
                }
                return self
                    .function_text(!is_static)
                    .map(|(args, ret)| (Some(args), ret));
            }
            '$' => {
                // Displacement thunks of virtual bases.
                match self.next()? {
                    'R' => {
                        self.next()?;
                        for _ in 0..4 {
                            self.number()?;
                        }
                    }
                    '0'..='5' => {
                        self.number()?;
                        self.number()?;
                    }
                    'B' => {
                        self.number()?;
                        self.next()?;
                        self.next()?;
                        return Some((None, None));
                    }
                    _ => return None,
                }
                return self
                    .function_text(true)
                    .map(|(args, ret)| (Some(args), ret));
            }
            _ => return None,
        }
        Some((None, None))
    }

    fn function_text(&mut self, is_member: bool) -> Option<(String, Option<String>)> {
        let function = self.function(is_member)?;
        let after = function.this;
        Some((
            format!("({}){after}", function.arguments),
            function.returns.map(|t| t.text()),
        ))
    }

    fn function(&mut self, is_member: bool) -> Option<Function> {
        self.nested(|p| {
            let this = if is_member { p.qualifiers()? } else { "" };
            let convention = p.convention()?;
            let returns = if p.eat("@") {
                None
            } else {
                if p.eat("?") {
                    p.qualifiers()?;
                }
                Some(p.type_()?)
            };
            let arguments = p.argument_list()?;
            if !p.eat("Z") {
                p.eat("_E");
            }
            Some(Function {
                this,
                convention,
                returns,
                arguments,
            })
        })
    }

    fn convention(&mut self) -> Option<&'static str> {
        Some(match self.next()? {
            'A' | 'B' => "__cdecl",
            'C' | 'D' => "__pascal",
            'E' | 'F' => "__thiscall",
            'G' | 'H' => "__stdcall",
            'I' | 'J' => "__fastcall",
            'M' | 'N' => "__clrcall",
            'O' | 'P' => "__eabi",
            'Q' => "__vectorcall",
            'S' => "__swift_1",
            'W' => "__swift_2",
            'w' => "__regcall",
            _ => return None,
        })
    }

    fn argument_list(&mut self) -> Option<String> {
        if self.eat("X") {
            return Some("void".to_owned());
        }
        let mut list = String::new();
        loop {
            let text = if self.eat("@") {
                return Some(list);
            } else if self.eat("Z") {
                "...".to_owned()
            } else if let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
                self.next();
                self.arguments.get(digit as usize)?.text()
            } else {
                let before = self.rest.len();
                let argument = self.type_()?;
                if before - self.rest.len() > 1 && self.arguments.len() < 10 {
                    self.arguments.push(argument.clone());
                }
                argument.text()
            };
            let ended = text == "...";
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(&text);
            list = limited(list)?;
            if ended {
                return Some(list);
            }
        }
    }
}

fn limited(text: String) -> Option<String> {
    (text.len() <= MAX_LENGTH).then_some(text)
}
