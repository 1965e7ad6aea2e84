//! Which indices of a nest fit 32 bits: GPUs divide and multiply wider ones in many steps.
use crate::nest::{Nest, Op, Reg, Stmt, Ty, walk};
use sardonyx_ir::scalar::Prim;

/// The least and the greatest value of an index.
type Range = (i64, i64);

/// For every register, whether it is an index whose values all fit an `i32`.
pub(super) fn narrow(nest: &Nest) -> Vec<bool> {
    let mut ranges: Vec<Option<Range>> = vec![None; nest.regs.len()];
    walk(&nest.body, &mut |s| match s {
        Stmt::Let(r, op) if nest.ty(*r) == Ty::INDEX => ranges[r.0 as usize] = range(nest, op, &ranges),
        Stmt::For { var, begin, end, step, .. } => {
            let at = |r: &Reg| ranges[r.0 as usize];
            ranges[var.0 as usize] = at(begin).zip(at(end)).and_then(|((low, _), (_, high))| {
                // The last increment goes beyond the bound.
                fits((low, high.checked_add(*step)?)).then_some((low, (high - 1).max(low)))
            });
        }
        _ => {}
    });
    ranges.into_iter().map(|range| range.is_some_and(fits)).collect()
}

fn fits((low, high): Range) -> bool {
    low >= i64::from(i32::MIN) && high <= i64::from(i32::MAX)
}

/// The range of an operation, if it and those of its operands are known.
fn range(nest: &Nest, op: &Op, ranges: &[Option<Range>]) -> Option<Range> {
    let at = |r: Reg| ranges[r.0 as usize];
    match op {
        Op::Const(bits) => Some((*bits as i64, *bits as i64)),
        Op::Thread => nest.blocks.as_ref().map(|blocks| (0, i64::from(blocks.threads) - 1)),
        Op::Grid => nest.grid.known().map(|grid| (0, (grid - 1).max(0))),
        Op::IndexDiv(a, b) => {
            let ((low, high), (least, greatest)) = (at(*a)?, at(*b)?);
            (low >= 0 && least > 0).then(|| (low / greatest, high / least))
        }
        Op::IndexRem(a, b) => {
            let (_, greatest) = at(*b).filter(|(least, _)| *least > 0)?;
            Some((0, at(*a).map_or(greatest - 1, |(_, high)| high.min(greatest - 1).max(0))))
        }
        Op::Cast(a) => {
            let from = nest.ty(*a).dtype;
            (!from.is_float() && from.size() < 4).then(|| from.int_range()).map(|(l, h)| (l as i64, h as i64))
        }
        Op::Prim(Prim::Select, args) => {
            let (a, b) = (at(args[1])?, at(args[2])?);
            Some((a.0.min(b.0), a.1.max(b.1)))
        }
        Op::Prim(p, args) if args.len() == 2 => combined(*p, at(args[0])?, at(args[1])?),
        _ => None,
    }
}

fn combined(p: Prim, a: Range, b: Range) -> Option<Range> {
    Some(match p {
        Prim::Add => (a.0.checked_add(b.0)?, a.1.checked_add(b.1)?),
        Prim::Sub => (a.0.checked_sub(b.1)?, a.1.checked_sub(b.0)?),
        Prim::Min => (a.0.min(b.0), a.1.min(b.1)),
        Prim::Max => (a.0.max(b.0), a.1.max(b.1)),
        Prim::Mul => {
            let corner = |x: i64, y: i64| x.checked_mul(y);
            let corners = [corner(a.0, b.0)?, corner(a.0, b.1)?, corner(a.1, b.0)?, corner(a.1, b.1)?];
            let least = corners.into_iter().fold(i64::MAX, i64::min);
            (least, corners.into_iter().fold(i64::MIN, i64::max))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nest::Builder;
    use sardonyx_tensor::{DType, Dim};

    /// Whether the index at which a nest stores is narrow, for a grid of blocks.
    fn is_narrow(grid: Dim, index: impl for<'b> Fn(&'b Builder) -> crate::nest::Expr<'b>) -> bool {
        let b = Builder::new("index");
        let y = b.output("y", DType::F32);
        b.store(y, index(&b), b.f32(0.0));
        let nest = b.finish_blocks(grid, 256);
        let Some(Stmt::Store { index, .. }) = nest.body.last() else { panic!("a store") };
        narrow(&nest)[index.0 as usize]
    }

    #[test]
    fn indices_below_two_to_the_31_are_narrow() {
        fn place(b: &Builder) -> crate::nest::Expr<'_> {
            b.grid() * 256 + b.thread()
        }
        assert!(is_narrow(Dim::from(1 << 23), place));
        assert!(!is_narrow(Dim::from((1 << 23) + 1), place));
        assert!(!is_narrow(Dim::symbol("n"), place));
        assert!(is_narrow(Dim::symbol("n"), |b| place(b).index_rem(768)));
        assert!(!is_narrow(Dim::symbol("n"), |b| place(b).index_div(768)));
        assert!(is_narrow(Dim::from(1 << 30), |b| (b.grid() * 4).index_div(8) - 7));
    }
}
