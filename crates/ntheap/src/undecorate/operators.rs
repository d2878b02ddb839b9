//! Names of operators and of what compilers generate.

use super::{Parser, limited};

impl Parser<'_> {
    /// The name that an operator's code stands for. Constructors and destructors have none of
    /// their own; `structor` tells which it is (destructors: true).
    pub(super) fn operator(&mut self, structor: &mut Option<bool>) -> Option<String> {
        let code = self.next()?;
        let name = match code {
            '0' | '1' => {
                *structor = Some(code == '1');
                ""
            }
            '2' => "operator new",
            '3' => "operator delete",
            '4' => "operator=",
            '5' => "operator>>",
            '6' => "operator<<",
            '7' => "operator!",
            '8' => "operator==",
            '9' => "operator!=",
            'A' => "operator[]",
            'B' => "operator ",
            'C' => "operator->",
            'D' => "operator*",
            'E' => "operator++",
            'F' => "operator--",
            'G' => "operator-",
            'H' => "operator+",
            'I' => "operator&",
            'J' => "operator->*",
            'K' => "operator/",
            'L' => "operator%",
            'M' => "operator<",
            'N' => "operator<=",
            'O' => "operator>",
            'P' => "operator>=",
            'Q' => "operator,",
            'R' => "operator()",
            'S' => "operator~",
            'T' => "operator^",
            'U' => "operator|",
            'V' => "operator&&",
            'W' => "operator||",
            'X' => "operator*=",
            'Y' => "operator+=",
            'Z' => "operator-=",
            '_' => return self.special(),
            _ => return None,
        };
        Some(name.to_owned())
    }

    fn special(&mut self) -> Option<String> {
        let name = match self.next()? {
            '0' => "operator/=",
            '1' => "operator%=",
            '2' => "operator>>=",
            '3' => "operator<<=",
            '4' => "operator&=",
            '5' => "operator|=",
            '6' => "operator^=",
            '7' => "`vftable'",
            '8' => "`vbtable'",
            '9' => "`vcall'",
            'A' => "`typeof'",
            'B' => "`local static guard'",
            'D' => "`vbase destructor'",
            'E' => "`vector deleting destructor'",
            'F' => "`default constructor closure'",
            'G' => "`scalar deleting destructor'",
            'H' => "`vector constructor iterator'",
            'I' => "`vector destructor iterator'",
            'J' => "`vector vbase constructor iterator'",
            'K' => "`virtual displacement map'",
            'L' => "`eh vector constructor iterator'",
            'M' => "`eh vector destructor iterator'",
            'N' => "`eh vector vbase constructor iterator'",
            'O' => "`copy constructor closure'",
            'R' => return self.rtti(),
            'S' => "`local vftable'",
            'T' => "`local vftable constructor closure'",
            'U' => "operator new[]",
            'V' => "operator delete[]",
            'X' => "`placement delete closure'",
            'Y' => "`placement delete[] closure'",
            '_' => match self.next()? {
                'A' => "`managed vector constructor iterator'",
                'B' => "`managed vector destructor iterator'",
                'C' => "`eh vector copy constructor iterator'",
                'D' => "`eh vector vbase copy constructor iterator'",
                code @ ('E' | 'F') => {
                    let what = if code == 'E' {
                        "initializer"
                    } else {
                        "atexit destructor"
                    };
                    let of = if self.rest.starts_with('?') {
                        let symbol = self.symbol()?;
                        self.eat("@");
                        symbol.name
                    } else {
                        self.name_piece(&mut None)?
                    };
                    return limited(format!("`dynamic {what} for '{of}''"));
                }
                'G' => "`vector copy constructor iterator'",
                'H' => "`vector vbase copy constructor iterator'",
                'I' => "`managed vector copy constructor iterator'",
                'J' => "`local static thread guard'",
                'K' => {
                    let suffix = self.name_piece(&mut None)?;
                    return limited(format!("operator \"\" {suffix}"));
                }
                'L' => "operator co_await",
                'M' => "operator<=>",
                _ => return None,
            },
            _ => return None,
        };
        Some(name.to_owned())
    }

    fn rtti(&mut self) -> Option<String> {
        Some(match self.next()? {
            '0' => {
                let of = self.type_()?.text();
                limited(format!("{of} `RTTI Type Descriptor'"))?
            }
            '1' => {
                let (a, b, c, d) = (
                    self.number()?,
                    self.number()?,
                    self.number()?,
                    self.number()?,
                );
                format!("`RTTI Base Class Descriptor at ({a},{b},{c},{d})'")
            }
            '2' => "`RTTI Base Class Array'".to_owned(),
            '3' => "`RTTI Class Hierarchy Descriptor'".to_owned(),
            '4' => "`RTTI Complete Object Locator'".to_owned(),
            _ => return None,
        })
    }
}
