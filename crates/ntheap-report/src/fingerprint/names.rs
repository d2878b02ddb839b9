//! Names for the stacks of a fingerprint, whenever the PDBs are at hand.

use std::collections::HashMap;

use super::{Fingerprint, ModuleIdentity, StackRow, identity::bounded};

impl Fingerprint {
    /// Gives the frames names: `name` has them of a module and the offset of a return address, and `None`
    /// where it knows none.
    pub fn name(&mut self, name: &dyn Fn(&ModuleIdentity, u64) -> Option<String>) {
        let mut known: HashMap<(usize, u64), String> = HashMap::new();
        for stack in &mut self.stacks {
            let frames = stack.frames.iter().map(|frame| {
                let Some((at, offset)) = *frame else {
                    return OUTSIDE.to_owned();
                };
                let named = known.entry((at, offset)).or_insert_with(|| {
                    let module = self.modules.get(at);
                    let named = module.and_then(|module| name(module, offset));
                    named.map_or_else(|| by_offset(module, offset), |named| bounded(&named))
                });
                named.clone()
            });
            stack.names = Some(frames.collect());
        }
    }

    /// The frames of a stack, innermost first: by name where they have any, else by module and offset.
    #[must_use]
    pub fn frames(&self, stack: &StackRow) -> Vec<String> {
        let plain = |frame: &Option<(usize, u64)>| match *frame {
            Some((at, offset)) => by_offset(self.modules.get(at), offset),
            None => OUTSIDE.to_owned(),
        };
        let named = stack
            .names
            .clone()
            .filter(|names| names.len() == stack.frames.len());
        named.unwrap_or_else(|| stack.frames.iter().map(plain).collect())
    }

    /// What a stack is told by: its innermost frames outside Windows, the runtimes, and what is known to
    /// pass allocations on; a few of them, as the first can be the program's own allocator.
    #[must_use]
    pub fn place(&self, stack: &StackRow) -> String {
        let frames = self.frames(stack);
        let is_own = |frame: &Option<(usize, u64)>, name: &str| {
            let of = frame.and_then(|(at, _)| self.modules.get(at));
            let function = name.split_once('!').map(|(_, function)| function);
            of.is_some_and(|module| !module.system)
                && !function.is_some_and(ntheap::names::is_runtime_function)
        };
        let own = stack
            .frames
            .iter()
            .zip(&frames)
            .filter(|(frame, name)| is_own(frame, name));
        let own: Vec<&str> = own.map(|(_, name)| function(name)).take(PLACES).collect();
        match (own.is_empty(), frames.first()) {
            (false, _) => own.join(" < "),
            (true, Some(first)) => first.clone(),
            (true, None) => OUTSIDE.to_owned(),
        }
    }
}

/// Frames by which a stack is told.
const PLACES: usize = 3;

/// The function of a frame with a name, without the place in it.
fn function(frame: &str) -> &str {
    match frame.rsplit_once(['+', '-']) {
        Some((function, place)) if function.contains('!') && place.starts_with("0x") => function,
        _ => frame,
    }
}

/// A frame outside all modules: code that was made while the program ran.
const OUTSIDE: &str = "?";

fn by_offset(module: Option<&ModuleIdentity>, offset: u64) -> String {
    module.map_or_else(
        || OUTSIDE.to_owned(),
        |module| format!("{}+{offset:#x}", module.short_name()),
    )
}
