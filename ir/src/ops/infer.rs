//! What a type rule sees: operand types, and a place to note which dimensions have to be equal.
use crate::graph::Requirement;
use crate::types::Type;
use sardonyx_tensor::Dim;

/// The context of a type rule.
pub struct Infer<'a> {
    operands: &'a [Type],
    requirements: Vec<Requirement>,
}

impl<'a> Infer<'a> {
    /// A context for operands of these types.
    pub fn new(operands: &'a [Type]) -> Infer<'a> {
        Infer { operands, requirements: Vec::new() }
    }
    /// The types of the operands.
    pub fn operands(&self) -> &'a [Type] {
        self.operands
    }
    /// The type of operand `i`, which the op always has.
    pub fn operand(&self, i: usize) -> &'a Type {
        &self.operands[i]
    }
    /// What has to be equal when the program runs.
    pub fn into_requirements(self) -> Vec<Requirement> {
        self.requirements
    }

    /// The one dimension that both are; notes a requirement if only the run can tell. Fails if they differ.
    pub fn same(&mut self, a: &Dim, b: &Dim) -> Result<Dim, String> {
        if a == b {
            return Ok(a.clone());
        }
        let (keep, other) = match (a.known(), b.known()) {
            (Some(_), Some(_)) => return Err(format!("dimension {a} is not {b}")),
            (None, Some(_)) => (b, a),
            (Some(_), None) => (a, b),
            (None, None) if b.to_string().len() < a.to_string().len() => (b, a),
            (None, None) => (a, b),
        };
        self.requirements.push(Requirement { left: keep.clone(), right: other.clone() });
        Ok(keep.clone())
    }

    /// The numpy broadcast of shapes. Two different symbolic dimensions are required to be equal: a program
    /// is compiled once, so a symbol that is 1 only in some runs does not broadcast.
    pub fn broadcast(&mut self, shapes: &[&[Dim]]) -> Result<Vec<Dim>, String> {
        let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
        let one = Dim::from(1);
        let mut result = vec![one.clone(); rank];
        for shape in shapes {
            for (r, d) in result[rank - shape.len()..].iter_mut().zip(*shape) {
                if *d == one {
                    continue;
                }
                *r = if *r == one { d.clone() } else { self.same(r, d)? };
            }
        }
        Ok(result)
    }

    /// Fails unless `from` broadcasts to exactly `to`; notes requirements for what only the run can tell.
    pub fn broadcasts_to(&mut self, from: &[Dim], to: &[Dim]) -> Result<(), String> {
        let lead = to.len().checked_sub(from.len()).ok_or("the rank is too high")?;
        for (a, b) in from.iter().zip(&to[lead..]) {
            if *a != 1 {
                self.same(a, b)?;
            }
        }
        Ok(())
    }

    /// The numpy broadcast of all operand shapes. Fails in words that name the types.
    pub fn broadcast_all(&mut self) -> Result<Vec<Dim>, String> {
        let shapes: Vec<&[Dim]> = self.operands.iter().map(|t| t.shape.as_slice()).collect();
        self.broadcast(&shapes).map_err(|e| format!("cannot broadcast {}: {e}", self.listed()))
    }

    /// The operand types as text.
    pub fn listed(&self) -> String {
        self.operands.iter().map(Type::to_string).collect::<Vec<_>>().join(" with ")
    }
}

/// The numpy broadcast of concrete shapes that are known to fit.
pub fn broadcast(shapes: &[&[usize]]) -> Vec<usize> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut result = vec![1; rank];
    for shape in shapes {
        for (r, &d) in result[rank - shape.len()..].iter_mut().zip(*shape) {
            if d != 1 {
                *r = d;
            }
        }
    }
    result
}
