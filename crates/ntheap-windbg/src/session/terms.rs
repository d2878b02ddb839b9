//! What expressions name: modules, symbols, registers, pseudo-registers, memory.

use super::{CommandError, Session, SymbolLookup, evaluate, parse};
use ntheap::layout::Bitness;

struct Terms<'s, 'p, 'a>(&'s Session<'p, 'a>);

impl SymbolLookup for Terms<'_, '_, '_> {
    fn address_of(&self, name: &str) -> Option<u64> {
        let session = self.0;
        let process = session.process;
        let bare = name.trim_start_matches('@');
        let register = session
            .pseudo_register(bare)
            .or_else(|| session.register(bare));
        if let Some(value) = register {
            return Some(value);
        }
        if bare.len() < name.len() {
            return None;
        }
        // `nt` is what the kernel's heap is called in commands that people copy.
        let name = match name.split_once('!') {
            Some(("nt", symbol)) => format!("ntdll!{symbol}"),
            _ => name.to_owned(),
        };
        if let Some(address) = session.names.address_of(&name) {
            return Some(address);
        }
        let modules = &process.dump.modules;
        let module = modules
            .iter()
            .find(|m| m.name().eq_ignore_ascii_case(&name));
        module.map(|module| module.base)
    }

    fn read(&self, address: u64, size: u64) -> Option<u64> {
        self.0.may_show_contents().ok()?;
        let memory = self.0.process.memory();
        match size {
            1 => memory.u8(address).map(u64::from),
            2 => memory.u16(address).map(u64::from),
            4 => memory.u32(address).map(u64::from),
            8 => memory.u64(address),
            _ => memory.pointer(address, self.0.process.bitness),
        }
    }

    fn radix(&self) -> u32 {
        self.0.radix
    }
}

/// The `n`th of the names `$t0` to `$t19`.
pub(super) fn variable(name: &str) -> Option<usize> {
    let digits = name.trim_start_matches('@').strip_prefix("$t")?;
    let index: usize = digits.parse().ok()?;
    (digits.len() <= 2 && index < 20).then_some(index)
}

impl Session<'_, '_> {
    pub(super) fn value(&self, text: &str) -> Result<u64, CommandError> {
        evaluate(text, &Terms(self))
    }

    /// The value of the expression that a text begins with, and what stands behind it.
    pub(super) fn value_at<'t>(&self, text: &'t str) -> Result<(u64, &'t str), CommandError> {
        parse::prefix(text, &Terms(self))
    }

    /// What a pseudo-register (`$peb`, `$t0`) holds.
    pub(super) fn pseudo_register(&self, name: &str) -> Option<u64> {
        let name = name.to_ascii_lowercase();
        let process = self.process;
        if let Some(index) = variable(&name) {
            return Some(self.pseudo_registers[index]);
        }
        let thread = process.dump.threads.get(self.scope.thread);
        let context = self.current_context();
        let result = match process.bitness {
            Bitness::X86 => "eax",
            Bitness::X64 => "rax",
        };
        match name.as_str() {
            "$peb" | "$proc" => process.peb,
            "$teb" | "$thread" => process.thread_block(thread?),
            "$tid" => thread.map(|thread| thread.id.into()),
            "$tpid" => process.dump.process_id.map(u64::from),
            "$ip" | "$scopeip" | "$eventip" => Some(context?.instruction_pointer()),
            "$csp" => Some(context?.stack_pointer()),
            "$retreg" | "$retreg64" => context?.register(result),
            "$ra" => {
                let stack = ntheap::unwind::walk(process, &context?, 1);
                stack.frames.first().map(|frame| frame.return_address)
            }
            "$exentry" => process.dump.entry_point(process.program()?),
            "$ptrsize" => Some(process.bitness.pointer_size()),
            "$pagesize" => Some(0x1000),
            "$exr_code" | "$excr" => process.dump.exception.as_ref().map(|e| e.code.into()),
            "$frame" => Some(self.scope.frame as u64),
            "$extret" => Some(self.list_element),
            "$dtid" | "$dpid" | "$dsid" | "$bug_code" => Some(0),
            _ => None,
        }
    }
}
