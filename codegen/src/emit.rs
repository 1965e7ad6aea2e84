//! Emitters: nests printed as source text of a platform.
pub mod hip;
pub mod llvm;

use crate::target::Target;
use crate::unit::Unit;

/// The text that the target's toolchain is given for a unit.
pub fn source(unit: &Unit, target: &Target) -> String {
    match (unit, target) {
        (Unit::Nest(nest), Target::Cpu(spec)) => llvm::module(&[nest], spec),
        (_, Target::Gpu(spec)) => hip::text(unit, spec),
        (Unit::Template(template), Target::Cpu(spec)) => {
            panic!("bug: the template {} on {}", template.name, spec.cpu)
        }
    }
}
