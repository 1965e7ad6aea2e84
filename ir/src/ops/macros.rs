//! The macro behind the op table: what follows from a row.

macro_rules! ops { ($(
    $(#[doc = $doc:literal])*
    $Name:ident $method:ident ( $($arg:ident),* $(| $($opt:ident),+)? $(; $rest:ident ..)? ) { $($at:ident : $ty:ty = $default:tt),* } $kind:ident $def:expr;
)*) => {
    /// An operation with its attributes.
    #[derive(Clone, PartialEq, Debug)]
    #[allow(missing_docs)]
    pub enum Op {
        /// An input of the graph.
        Input { name: String },
        /// A constant.
        Const { value: Constant },
        $( $(#[doc = $doc])* $Name { $($at: $ty),* } ),*
    }

    /// A row of the op table, for documentation and tests.
    pub static TABLE: &[Row] = &[$( Row {
        name: stringify!($method),
        operands: &[$(stringify!($arg),)* $($(stringify!($opt),)+)? $(stringify!($rest),)?],
        required: <[&str]>::len(&[$(stringify!($arg)),*]),
        optional: <[&str]>::len(&[$($(stringify!($opt)),+)?]),
        variadic: ops!(@any $($rest)?),
        attributes: &[$((stringify!($at), stringify!($ty))),*],
        pointwise: ops!(@pointwise $kind),
        expression: ops!(@text $kind $def),
        about: concat!($($doc, "\n"),*),
    } ),*];

    #[repr(usize)]
    #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
    enum Index { $($method),* }

    impl Op {
        /// The name in the text form.
        pub fn name(&self) -> &'static str {
            match self { Op::Input { .. } => "input", Op::Const { .. } => "const", _ => self.row().name() }
        }
        /// The row of the table.
        pub fn row(&self) -> &'static Row {
            match self {
                Op::Input { .. } | Op::Const { .. } => &LEAF,
                $(Op::$Name { .. } => &TABLE[Index::$method as usize]),*
            }
        }
        /// Writes the attributes that are not regions as `{name=value, …}`, and nothing if there is none.
        pub fn print_attributes(&self, out: &mut String) {
            let mut _list = AttributeList::new(out);
            match self {
                Op::Input { .. } | Op::Const { .. } => {}
                $(Op::$Name { $($at),* } => { $(_list.add(stringify!($at), $at, &ops!(@value $ty, $default));)* })*
            }
            _list.close();
        }
        /// Reads the op of that name from its attributes and regions.
        pub fn parse(name: &str, p: &mut Parser) -> Result<Op> {
            Ok(match name {
                $( name if name == stringify!($method).trim_end_matches('_') => {
                    let mut op = Op::$Name { $($at: ops!(@value $ty, $default)),* };
                    let Op::$Name { $($at),* } = &mut op else { panic!("bug: just made") };
                    p.attributes(|_p, key| { match key { $(k if k == stringify!($at) => { *$at = Attribute::parse(_p)?; Ok(true) })* _ => Ok(false) } })?;
                    op
                } )*
                _ => return Err(p.error(format!("unknown op `{name}`"))),
            })
        }
        /// Replaces every symbolic dimension in the attributes, regions left alone.
        pub fn map_dims(&mut self, _f: &mut dyn FnMut(&Dim) -> Dim) {
            match self { Op::Input { .. } | Op::Const { .. } => {} $(Op::$Name { $($at),* } => { $($at.map_dims(_f);)* })* }
        }
        /// The sub-graphs, with their names.
        pub fn regions(&self) -> Vec<(&'static str, &Graph)> {
            match self { Op::Input { .. } | Op::Const { .. } => vec![], $(Op::$Name { $($at),* } => [$((stringify!($at), $at.region())),*].into_iter().filter_map(|(n, r): (&'static str, Option<&Graph>)| Some((n, r?))).collect()),* }
        }
        /// As [`Op::regions`], to change them.
        pub fn regions_mut(&mut self) -> Vec<&mut Graph> {
            match self { Op::Input { .. } | Op::Const { .. } => vec![], $(Op::$Name { $($at),* } => [$($at.region_mut()),*].into_iter().filter_map(|r: Option<&mut Graph>| r).collect()),* }
        }
        /// The scalar expression of a pointwise op.
        #[allow(unused_variables)]
        pub fn scalar(&self) -> Option<Scalar> {
            match self { $(Op::$Name { $($at),* } => ops!(@scalar $kind ($($arg),*) ($($at),*) $def),)* _ => None }
        }
        /// The definition of an op that is not pointwise.
        pub fn definition(&self) -> Option<&'static Definition> {
            match self {
                Op::Input { .. } => Some(&leaf::INPUT),
                Op::Const { .. } => Some(&leaf::CONST),
                $(Op::$Name { .. } => ops!(@definition $kind $def)),*
            }
        }
    }

    /// One method per op with its required operands; optional operands go through [`OpBuilder::apply`].
    #[allow(missing_docs)]
    pub trait OpBuilder: Copy + Sized {
        /// The first result of `op` on these operands, of which there is at least one.
        fn apply(op: Op, operands: &[Self]) -> Self;
        $( ops!(@method [$(#[doc = $doc])*] $Name $method ($($arg),*) ($($rest)?) { $($at: $ty),* }); )*
    }
};
    (@any) => { false };
    (@any $rest:ident) => { true };
    (@pointwise map) => { true };
    (@pointwise via) => { false };
    (@text map $def:expr) => { stringify!($def) };
    (@text via $def:expr) => { "" };
    (@value $ty:ty, _) => { <$ty as Default>::default() };
    (@value $ty:ty, $default:tt) => { <$ty as From<_>>::from($default) };
    (@scalar map ($($arg:ident),*) ($($at:ident),*) $def:expr) => {{
        $( let $at = $at.clone(); )*
        Some(Scalar::build([$(stringify!($arg)),*].len(), |_, args| {
            let [$($arg),*] = *args else { panic!("bug: as many arguments as asked for") };
            $def
        }))
    }};
    (@scalar via $($rest:tt)*) => { None };
    (@definition via $def:expr) => { Some(&$def) };
    (@definition map $def:expr) => { None };
    (@method [$($doc:tt)*] $Name:ident $method:ident () ($($rest:ident)?) { $($at:ident : $ty:ty),* }) => {};
    (@method [$($doc:tt)*] $Name:ident $method:ident ($x:ident $(, $arg:ident)*) ($($rest:ident)?) { $($at:ident : $ty:ty),* }) => {
        $($doc)*
        #[allow(clippy::too_many_arguments)]
        fn $method(self $(, $arg: Self)* $(, $at: $ty)*) -> Self { Self::apply(Op::$Name { $($at),* }, &[self $(, $arg)*]) }
    };
}

/// The attributes of the op this definition belongs to.
macro_rules! attributes {
    ($op:expr, $Name:ident { $($at:ident),* }) => {
        let Op::$Name { $($at,)* .. } = $op else { panic!("bug: the definition of another op") };
    };
}
