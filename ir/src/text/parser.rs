//! Text to graph. Every error says where it is; no input makes it panic.
use crate::graph::{Graph, Value};
use crate::interp::sample;
use crate::ops::{Constant, MAX_ELEMENTS, Op};
use crate::types::Type;
use sardonyx_tensor::{DType, Dim, Tensor};
use std::collections::HashMap;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {message}, at `{near}`")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// The text there.
    pub near: String,
}

/// A result with a [`ParseError`].
pub type Result<T> = std::result::Result<T, ParseError>;

/// Sub-graphs may nest this deep.
const MAX_DEPTH: usize = 64;

/// Reads the text form of a graph.
pub fn parse(text: &str) -> Result<Graph> {
    let mut p = Parser { text, pos: 0, depth: 0 };
    p.expect("graph")?;
    let g = p.region()?;
    p.skip();
    if p.pos == text.len() { Ok(g) } else { Err(p.error("text after the graph")) }
}

/// A position in a text.
pub struct Parser<'t> {
    text: &'t str,
    pos: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.pos..]
    }
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.pos += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.pos += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }
    /// An error here.
    pub fn error(&self, message: impl Into<String>) -> ParseError {
        let line = self.text[..self.pos].matches('\n').count() + 1;
        ParseError { line, message: message.into(), near: self.rest().chars().take(24).collect() }
    }
    /// Whether `token` comes next; if so it is taken.
    pub fn eat(&mut self, token: &str) -> bool {
        self.skip();
        let yes = self.rest().starts_with(token);
        self.pos += if yes { token.len() } else { 0 };
        yes
    }
    /// Takes `token`.
    pub fn expect(&mut self, token: &str) -> Result<()> {
        if self.eat(token) { Ok(()) } else { Err(self.error(format!("expected `{token}`"))) }
    }
    fn span(&mut self, what: &str, ok: impl Fn(char) -> bool) -> Result<&'t str> {
        self.skip();
        let rest = self.rest();
        let n = rest.find(|c| !ok(c)).unwrap_or(rest.len());
        if n == 0 {
            return Err(self.error(format!("expected {what}")));
        }
        self.pos += n;
        Ok(&rest[..n])
    }
    /// A word of letters, digits, `_` and `.`.
    pub fn word(&mut self) -> Result<&'t str> {
        self.span("a word", |c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    }
    fn numeral(&mut self) -> Result<&'t str> {
        self.span("a number", |c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    }
    /// A number.
    pub fn number(&mut self) -> Result<f64> {
        let w = self.numeral()?;
        w.parse().map_err(|_| self.error(format!("`{w}` is not a number")))
    }
    /// An integer.
    pub fn integer(&mut self) -> Result<i64> {
        let w = self.numeral()?;
        w.parse().map_err(|_| self.error(format!("`{w}` is not an integer")))
    }
    /// A string in double quotes, with Rust's escapes for quote, backslash and control characters.
    pub fn quoted(&mut self) -> Result<String> {
        self.expect("\"")?;
        let mut s = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.pos += i + 1;
                    return Ok(s);
                }
                '\\' => s.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, 'r')) => '\r',
                    Some((_, '0')) => '\0',
                    Some((_, c)) => c,
                    None => break,
                }),
                c => s.push(c),
            }
        }
        Err(self.error("a string does not end"))
    }
    /// Items with commas between them, up to `close`.
    pub fn list<T>(&mut self, close: &str, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.eat(close) {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }
    /// An element type.
    pub fn dtype(&mut self) -> Result<DType> {
        let w = self.word()?;
        w.parse().map_err(|_| self.error(format!("unknown element type `{w}`")))
    }
    /// A dimension expression, up to a comma or bracket that is not its own.
    pub fn dim(&mut self) -> Result<Dim> {
        self.skip();
        let mut depth = 0;
        let rest = self.rest();
        let end = rest.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth < 0 || (depth == 0 && ",]}=\n".contains(c))
        });
        let text = &rest[..end.unwrap_or(rest.len())];
        let dim = text.trim().parse().map_err(|e| self.error(format!("bad dimension: {e}")))?;
        self.pos += text.len();
        Ok(dim)
    }
    /// A tensor type.
    pub fn ty(&mut self) -> Result<Type> {
        let dtype = self.dtype()?;
        self.expect("[")?;
        let shape = self.list("]", Self::dim)?;
        match shape.iter().find(|d| d.provably_le(-1)) {
            Some(d) => Err(self.error(format!("the size {d} is negative"))),
            None => Ok(Type { dtype, shape }),
        }
    }
    /// Attributes in braces, if there are any; `set` reads the value and says whether it knows the name.
    pub fn attributes(&mut self, mut set: impl FnMut(&mut Self, &str) -> Result<bool>) -> Result<()> {
        if !self.eat("{") {
            return Ok(());
        }
        self.list("}", |p| {
            let name = p.word()?;
            p.expect("=")?;
            if set(p, name)? { Ok(()) } else { Err(p.error(format!("unknown attribute `{name}`"))) }
        })
        .map(|_| ())
    }
    fn name(&mut self) -> Result<String> {
        self.expect("%")?;
        if self.rest().starts_with('"') { self.quoted() } else { self.word().map(str::to_string) }
    }

    /// A graph without the word `graph`: inputs, nodes, outputs.
    pub fn region(&mut self) -> Result<Graph> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(format!("sub-graphs nest deeper than {MAX_DEPTH}")));
        }
        let mut g = Graph::new();
        let mut names: HashMap<String, Value> = HashMap::new();
        self.expect("(")?;
        self.list(")", |p| {
            let name = p.name()?;
            p.expect(":")?;
            let ty = p.ty()?;
            match names.insert(name.clone(), g.input(&name, ty)) {
                None => Ok(()),
                Some(_) => Err(p.error(format!("two inputs are named %{name}"))),
            }
        })?;
        self.expect("{")?;
        while !self.eat("return") {
            if self.eat("require") {
                let left = self.dim()?;
                self.expect("==")?;
                g.require(left, self.dim()?);
            } else {
                self.statement(&mut g, &mut names)?;
            }
        }
        self.outputs(&mut g, &names)?;
        self.depth -= 1;
        Ok(g)
    }

    fn outputs(&mut self, g: &mut Graph, names: &HashMap<String, Value>) -> Result<()> {
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        while !self.eat("}") {
            if !values.is_empty() {
                self.expect(",")?;
            }
            values.push(self.operand(g, names)?);
            if self.eat("as") {
                labels.push(self.quoted()?);
            }
        }
        if !labels.is_empty() && labels.len() != values.len() {
            return Err(self.error("every output or none has a name"));
        }
        g.set_outputs(values, labels);
        Ok(())
    }

    fn operand(&mut self, g: &mut Graph, names: &HashMap<String, Value>) -> Result<Value> {
        self.skip();
        if self.rest().starts_with('%') {
            let name = self.name()?;
            return names.get(&name).copied().ok_or_else(|| self.error(format!("%{name} is not defined")));
        }
        let start = self.pos;
        let word = self.numeral()?;
        let dtype = if self.eat(":") { self.dtype()? } else { DType::F32 };
        if dtype.is_reference() {
            return Err(self.error(format!("{dtype} has no numbers")));
        }
        let tensor = match word.parse::<i128>() {
            Ok(x) if !dtype.is_float() => Tensor::from_i128s(dtype, vec![], [x]),
            _ => {
                let x: f64 = word.parse().map_err(|_| {
                    self.pos = start;
                    self.error(format!("`{word}` is not a number"))
                })?;
                Tensor::from_f64s(dtype, vec![], [x])
            }
        };
        Ok(g.constant(tensor))
    }

    fn statement(&mut self, g: &mut Graph, names: &mut HashMap<String, Value>) -> Result<()> {
        let mut results = vec![self.name()?];
        while self.eat(",") {
            results.push(self.name()?);
        }
        self.expect("=")?;
        let op = self.word()?;
        let value = if op == "const" { self.constant(g)? } else { self.node(op, g, names)? };
        if results.len() != g.node(value.node).types.len() {
            let n = g.node(value.node).types.len();
            return Err(self.error(format!("{op} has {n} results, not {}", results.len())));
        }
        for (port, name) in results.into_iter().enumerate() {
            if names.insert(name.clone(), value.port(port)).is_some() {
                return Err(self.error(format!("%{name} is defined twice")));
            }
        }
        Ok(())
    }

    fn node(&mut self, name: &str, g: &mut Graph, names: &HashMap<String, Value>) -> Result<Value> {
        self.expect("(")?;
        let operands = self.list(")", |p| p.operand(g, names))?;
        let mut op = Op::parse(name, self)?;
        let stated = if self.eat(":") { self.types()? } else { Vec::new() };
        for region in op.regions_mut() {
            self.word()?;
            *region = self.region()?;
        }
        let value = g.add(op, &operands).map_err(|e| self.error(e))?;
        let inferred = &g.node(value.node).types;
        if !stated.is_empty() && stated != inferred.to_vec() {
            let listed: Vec<String> = inferred.iter().map(Type::to_string).collect();
            return Err(self.error(format!("{name} has type {}", listed.join(", "))));
        }
        Ok(value)
    }

    fn types(&mut self) -> Result<Vec<Type>> {
        let mut types = vec![self.ty()?];
        while self.eat(",") {
            types.push(self.ty()?);
        }
        Ok(types)
    }

    fn constant(&mut self, g: &mut Graph) -> Result<Value> {
        let kind = if self.eat("[") { "" } else { self.word()? };
        let (mut floats, mut integers, mut seed) = (Vec::new(), Vec::new(), 0);
        let mut texts = Vec::new();
        if kind.is_empty() {
            self.list("]", |p| {
                p.skip();
                if p.rest().starts_with('"') {
                    texts.push(p.quoted()?);
                    return Ok(());
                }
                let w = p.numeral()?;
                let x: f64 = w.parse().map_err(|_| p.error(format!("`{w}` is not a number")))?;
                floats.push(x);
                integers.push(w.parse::<i128>().unwrap_or(x as i128));
                Ok(())
            })?;
        } else {
            self.expect("(")?;
            let w = self.numeral()?;
            let digits =
                w.strip_prefix("0x").map_or_else(|| w.parse().ok(), |h| u64::from_str_radix(h, 16).ok());
            seed = digits.ok_or_else(|| self.error(format!("`{w}` is not a seed")))?;
            self.expect(")")?;
        }
        self.expect(":")?;
        let ty = self.ty()?;
        let sizes = ty.sizes().ok_or_else(|| self.error("a constant has known dimensions"))?;
        let count = sizes.iter().try_fold(1usize, |a, &b| a.checked_mul(b)).filter(|&n| n <= MAX_ELEMENTS);
        let count = count.ok_or_else(|| self.error("the constant is too large"))?;
        let of_texts = ty.dtype == DType::String;
        let (given, wrong) = if of_texts { (texts.len(), floats.len()) } else { (floats.len(), texts.len()) };
        let constant = match kind {
            "" if given != count || wrong > 0 => {
                return Err(self.error(format!("{ty} has {count} elements of its type, not {given}")));
            }
            "" if of_texts => Constant::new(Tensor::from_texts(sizes, &texts)),
            _ if ty.dtype == DType::List => return Err(self.error("a list has no text")),
            "" if ty.dtype.is_float() => Constant::new(Tensor::from_f64s(ty.dtype, sizes, floats)),
            "" => Constant::new(Tensor::from_i128s(ty.dtype, sizes, integers)),
            "rand" => Constant::random(seed, sample(ty.dtype, &sizes, seed)),
            "opaque" => Constant::opaque(seed, sample(ty.dtype, &sizes, seed)),
            k => return Err(self.error(format!("`{k}` is not rand or opaque"))),
        };
        g.add(Op::Const { value: constant }, &[]).map_err(|e| self.error(e))
    }
}
