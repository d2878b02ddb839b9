//! Names as Windows debuggers print them: undecorated, without return type and argument list.

use ntheap::undecorate::undecorate;

/// The name that a debugger prints for a public symbol.
///
/// C++ decorations are resolved to scopes and name. Of C names one leading underscore is dropped
/// (debuggers do so on every architecture), as are the `@N` of x86's `__stdcall` and the `@…@N` of
/// its `__fastcall`. A name that follows none of these rules is printed as it is.
///
/// ```
/// use ntheap_symbols::public_name;
///
/// assert_eq!(public_name("?Allocate@core@app@@YAPEAXPEAX_KI@Z"), "app::core::Allocate");
/// assert_eq!(public_name("??_7Foo@@6B@"), "Foo::`vftable'");
/// assert_eq!(public_name("_RtlAllocateHeap@12"), "RtlAllocateHeap");
/// ```
#[must_use]
pub fn public_name(decorated: &str) -> String {
    if decorated.starts_with('?') {
        return match undecorate(decorated) {
            Some(undecorated) => undecorated.name,
            None => decorated.to_owned(),
        };
    }
    if let Some(imported) = decorated.strip_prefix("__imp_?") {
        // The name of the pointer through which an imported function is called.
        return match undecorate(&decorated["__imp_".len()..]) {
            Some(undecorated) => format!("_imp_{}", undecorated.name),
            None => format!("_imp_?{imported}"),
        };
    }
    let name = match decorated.strip_prefix(['_', '@']) {
        Some(name) if !name.is_empty() => name,
        _ => decorated,
    };
    match name.rsplit_once('@') {
        Some((stem, bytes)) if !stem.is_empty() && is_number(bytes) => stem
            .strip_suffix('@')
            .filter(|s| !s.is_empty())
            .unwrap_or(stem)
            .to_owned(),
        _ => name.to_owned(),
    }
}

/// Like [`public_name`], with the argument list of a C++ function.
///
/// ```
/// use ntheap_symbols::public_signature;
///
/// let signature = public_signature("?Allocate@core@app@@YAPEAXPEAX_KI@Z");
/// assert_eq!(signature, "app::core::Allocate(void *,unsigned __int64,unsigned int)");
/// ```
#[must_use]
pub fn public_signature(decorated: &str) -> String {
    match decorated
        .starts_with('?')
        .then(|| undecorate(decorated))
        .flatten()
    {
        Some(undecorated) => match undecorated.arguments {
            Some(arguments) => undecorated.name + &arguments,
            None => undecorated.name,
        },
        None => public_name(decorated),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Removes the argument list, and the qualifiers after it, from a function's signature.
///
/// ```
/// use ntheap_symbols::strip_parameters;
///
/// assert_eq!(strip_parameters("Table<int (*)(int)>::Find(int) const"), "Table<int (*)(int)>::Find");
/// assert_eq!(strip_parameters("Less::operator()(int, int)"), "Less::operator()");
/// ```
#[must_use]
pub fn strip_parameters(signature: &str) -> &str {
    let mut text = signature.trim_end();
    // Qualifiers can only follow an argument list.
    loop {
        let shorter = [" const", " volatile", " noexcept", " &&", " &"]
            .iter()
            .find_map(|qualifier| text.strip_suffix(qualifier));
        match shorter {
            Some(shorter) if shorter.contains(')') => text = shorter.trim_end(),
            _ => break,
        }
    }
    if !text.ends_with(')') {
        return signature;
    }
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    let name = text[..at].trim_end();
                    // Those brackets were the name itself: `Less::operator()`.
                    let is_call = name == "operator" || name.ends_with("::operator");
                    return if is_call || name.is_empty() {
                        text
                    } else {
                        name
                    };
                }
            }
            _ => {}
        }
    }
    signature
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decorated_names() {
        for (decorated, name) in [
            ("??_7Foo@@6B@", "Foo::`vftable'"),
            ("??_7Foo@@6BBar@@@", "Foo::`vftable'"),
            (
                "??_GFoo@ns@@UEAAPEAXI@Z",
                "ns::Foo::`scalar deleting destructor'",
            ),
            ("??_EFoo@@UAEPAXI@Z", "Foo::`vector deleting destructor'"),
            ("??2@YAPEAX_K@Z", "operator new"),
            ("??_U@YAPAXI@Z", "operator new[]"),
            ("??0Foo@ns@@QEAA@XZ", "ns::Foo::Foo"),
            ("??1Foo@ns@@UEAA@XZ", "ns::Foo::~Foo"),
            (
                "??0?$vector@HV?$allocator@H@std@@@std@@QEAA@XZ",
                "std::vector<int,class std::allocator<int> >::vector",
            ),
            ("??BFoo@@QEBAHXZ", "Foo::operator int"),
            ("??RLess@@QEBA_NHH@Z", "Less::operator()"),
            (
                "?Foo@?A0x1234abcd@strkit@@YAXXZ",
                "strkit::`anonymous namespace'::Foo",
            ),
            (
                "?AllocateRaw@?A@strkit@@YAXXZ",
                "strkit::`anonymous namespace'::AllocateRaw",
            ),
            (
                "?ObjAttribute@?1??RtlpGetCustomCultureRegKey@@9@9",
                "`RtlpGetCustomCultureRegKey'::`2'::ObjAttribute",
            ),
            ("?x@?1??f@@YAXHPEAD@Z@4HA", "`f'::`2'::x"),
            (
                "?Insert@?$Table@UBlob@cache@app@@$0BPN@@cache@app@@QEAAPEAUBlob@23@PEAX_KI@Z",
                "app::cache::Table<struct app::cache::Blob,509>::Insert",
            ),
            (
                "?SetValue@?$RTL_BINARY_ARRAY@URTLP_FLS_SLOT@@$07$03@@SAJPEAU1@KURTLP_FLS_SLOT@@K@Z",
                "RTL_BINARY_ARRAY<struct RTLP_FLS_SLOT,8,4>::SetValue",
            ),
            (
                "??$InsertModuleFunctions@U_IMAGE_THUNK_DATA64@@_K$0?IAAAAAAAAAAAAAAA@@@YAJPEAU\
              _IMPORTTABLEP_IMPORTTABLEP_SORTED_LIST_ENTRY@@PEAXPEAU_IMAGE_NT_HEADERS64@@PEFAU\
              _IMAGE_IMPORT_DESCRIPTOR@@@Z",
                "InsertModuleFunctions<struct _IMAGE_THUNK_DATA64,unsigned __int64,\
                 -9223372036854775808>",
            ),
            ("??_C@_0EB@MDNEBHEJ@?4?4?4?4@", "`string'"),
            ("??_R0?AVFoo@@@8", "class Foo `RTTI Type Descriptor'"),
            ("??_R4Foo@@6B@", "Foo::`RTTI Complete Object Locator'"),
            (
                "??_R1A@?0A@EA@Foo@@8",
                "Foo::`RTTI Base Class Descriptor at (0,-1,0,64)'",
            ),
            ("?g_heaps@app@@3UHeaps@1@A", "app::g_heaps"),
            ("??__Eg_x@@YAXXZ", "`dynamic initializer for 'g_x''"),
            ("?f@?$A@P6AXH@Z@@QEAAXXZ", "A<void (__cdecl*)(int)>::f"),
            ("?broken", "?broken"),
            ("?", "?"),
        ] {
            assert_eq!(public_name(decorated), name, "{decorated}");
        }
    }

    #[test]
    fn c_names() {
        for (decorated, name) in [
            ("RtlAllocateHeap", "RtlAllocateHeap"),
            ("_RtlpLFHKey", "RtlpLFHKey"),
            ("___RtlUserThreadStart@8", "__RtlUserThreadStart"),
            ("@RtlpFast@12", "RtlpFast"),
            ("vec@@16", "vec"),
            ("__imp__RtlAllocateHeap@12", "_imp__RtlAllocateHeap"),
            ("__imp_RtlAllocateHeap", "_imp_RtlAllocateHeap"),
            (
                "__imp_?Release@strkit@@YAXPEAUStringBuffer@1@@Z",
                "_imp_strkit::Release",
            ),
            ("_", "_"),
            ("a@b", "a@b"),
            ("@4", "4"),
            ("", ""),
        ] {
            assert_eq!(public_name(decorated), name, "{decorated}");
        }
    }

    #[test]
    fn signatures() {
        for (decorated, signature) in [
            ("?f@@YAXPEAPEAD0@Z", "f(char * *,char * *)"),
            ("?f@Foo@@QEBAXAEBV1@@Z", "Foo::f(class Foo const &) const"),
            (
                "?f@@YAXP6AHN@ZQEBDZZ",
                "f(int (__cdecl*)(double),char const * const,...)",
            ),
            ("?f@@YAXQEAY01H@Z", "f(int (* const)[2])"),
            ("?f@@YAXP8Foo@@EAAXXZ@Z", "f(void (__cdecl Foo::*)(void))"),
            ("?f@@YAX$$QEAH@Z", "f(int &&)"),
            ("_f@4", "f"),
        ] {
            assert_eq!(public_signature(decorated), signature, "{decorated}");
        }
    }

    #[test]
    fn references_back_cannot_grow_without_bounds() {
        let mut bomb = "?f@@YAXP6AXHHHHHHHH@Z".to_owned();
        for i in 0..9 {
            bomb.push_str(&format!("P6AX{}@Z", i.to_string().repeat(300)));
        }
        bomb.push_str("@Z");
        assert_eq!(public_name(&bomb), bomb);
        let deep = format!("?f@@YAX{}H@Z", "PEA".repeat(1000));
        assert_eq!(public_name(&deep), deep);
        let templates = format!("?{}", "$A@V?".repeat(800));
        assert_eq!(public_name(&templates), templates);
    }

    #[test]
    fn argument_lists() {
        for (signature, name) in [
            (
                "CrashGenerationClient::IsRegistered() const",
                "CrashGenerationClient::IsRegistered",
            ),
            ("app::f(void (*)(int), std::pair<int, int>)", "app::f"),
            ("`anonymous namespace'::f(int)", "`anonymous namespace'::f"),
            ("`f(int)'::`2'::g(char)", "`f(int)'::`2'::g"),
            ("`f(int)'::`2'::value", "`f(int)'::`2'::value"),
            ("Less::operator()(int, int) const", "Less::operator()"),
            ("Less::operator()", "Less::operator()"),
            (
                "<lambda_1>::operator()<int (*)(int)>(int)",
                "<lambda_1>::operator()<int (*)(int)>",
            ),
            (
                "std::function<void ()>::reset()",
                "std::function<void ()>::reset",
            ),
            ("std::function<void ()>", "std::function<void ()>"),
            ("operator new(unsigned __int64)", "operator new"),
            ("plain", "plain"),
            ("plain const", "plain const"),
            ("odd)", "odd)"),
            ("(", "("),
            ("", ""),
        ] {
            assert_eq!(strip_parameters(signature), name, "{signature}");
        }
    }
}
