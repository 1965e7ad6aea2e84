//! Damage to protobuf messages that leaves them well-formed: fields that are missing, twice, elsewhere, of another
//! number or value; lengths of what encloses them are made right.
use super::bytes;
use super::random::Random;

/// A field of a message.
#[derive(Clone)]
pub struct Field {
    number: u64,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
}

/// Messages nest no deeper than this in what is looked at.
const MAX_DEPTH: usize = 24;
/// The highest field number of the format, about.
const MAX_NUMBER: u64 = 32;
/// What is longer is data.
const MAX_INNER: usize = 1 << 17;

/// The fields of a message, those of inner messages too; what only looks like a message is taken for one.
pub fn parse(bytes: &[u8]) -> Option<Vec<Field>> {
    message(bytes, 0)
}

fn message(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let number = key >> 3;
        if number == 0 || number > MAX_NUMBER {
            return None;
        }
        let content = match key & 7 {
            0 => Content::Varint(varint(&mut bytes)?),
            1 => Content::Fixed64(take(&mut bytes, 8)?.try_into().ok()?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let inner = take(&mut bytes, length)?;
                let looked_at = depth < MAX_DEPTH && !inner.is_empty() && length < MAX_INNER;
                match looked_at.then(|| message(inner, depth + 1)).flatten() {
                    Some(fields) => Content::Message(fields),
                    None => Content::Bytes(inner.to_vec()),
                }
            }
            5 => Content::Fixed32(take(&mut bytes, 4)?.try_into().ok()?),
            _ => return None,
        };
        fields.push(Field { number, content });
    }
    Some(fields)
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (start, rest) = bytes.split_at_checked(n)?;
    *bytes = rest;
    Some(start)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// The bytes of a message.
pub fn encode(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for Field { number, content } in fields {
        let mut key = |wire: u64| put(&mut out, number << 3 | wire);
        match content {
            Content::Varint(value) => {
                key(0);
                put(&mut out, *value);
            }
            Content::Fixed64(bytes) => {
                key(1);
                out.extend(bytes);
            }
            Content::Fixed32(bytes) => {
                key(5);
                out.extend(bytes);
            }
            Content::Bytes(bytes) => {
                key(2);
                put(&mut out, bytes.len() as u64);
                out.extend(bytes);
            }
            Content::Message(fields) => {
                key(2);
                let bytes = encode(fields);
                put(&mut out, bytes.len() as u64);
                out.extend(bytes);
            }
        }
    }
    out
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The number of fields, inner ones too.
fn count(fields: &[Field]) -> usize {
    let inner = |f: &Field| if let Content::Message(inner) = &f.content { count(inner) } else { 0 };
    fields.iter().map(|f| 1 + inner(f)).sum()
}

/// Calls `f` with the fields around field number `n`, and its place among them.
fn at(fields: &mut Vec<Field>, mut n: usize, f: &mut dyn FnMut(&mut Vec<Field>, usize)) -> Option<usize> {
    for i in 0..fields.len() {
        if n == 0 {
            f(fields, i);
            return None;
        }
        n -= 1;
        if let Content::Message(inner) = &mut fields[i].content {
            n = at(inner, n, f)?;
        }
    }
    Some(n)
}

/// Field number `n`.
fn get(fields: &[Field], mut n: usize) -> Result<&Field, usize> {
    for field in fields {
        if n == 0 {
            return Ok(field);
        }
        n -= 1;
        if let Content::Message(inner) = &field.content {
            match get(inner, n) {
                Ok(found) => return Ok(found),
                Err(left) => n = left,
            }
        }
    }
    Err(n)
}

/// A field of this number, if a look at a few finds one.
fn like<'a>(fields: &'a [Field], number: u64, random: &mut Random) -> Option<&'a Field> {
    let all = count(fields);
    (0..8).filter_map(|_| get(fields, random.below(all)).ok()).find(|f| f.number == number)
}

/// Changes a few fields; `other` is a message that fields are taken from, `words` are texts that mean something.
pub fn damage(fields: &mut Vec<Field>, other: &[Field], words: &[String], random: &mut Random) {
    for _ in 0..1 + random.below(3) {
        let n = random.below(count(fields));
        at(fields, n, &mut |around, i| once(around, i, other, words, random));
    }
}

fn once(around: &mut Vec<Field>, i: usize, other: &[Field], words: &[String], random: &mut Random) {
    match random.below(16) {
        0 => drop(around.remove(i)),
        1 => around.insert(i, around[i].clone()),
        2 => {
            let j = random.below(around.len());
            around.swap(i, j);
        }
        3..=4 => {
            if let Some(found) = like(other, around[i].number, random) {
                around[i] = found.clone();
            }
        }
        5 => {
            if let Ok(found) = get(other, random.below(count(other))) {
                around.insert(i, found.clone());
            }
        }
        6 => around[i].number = random.number(around[i].number) % MAX_NUMBER + 1,
        // A message inside of itself.
        7 => {
            let all = around.clone();
            if count(&all) < 2000
                && let Content::Message(inner) = &mut around[i].content
            {
                inner.extend(all);
            }
        }
        _ => change(&mut around[i].content, words, random),
    }
}

fn change(content: &mut Content, words: &[String], random: &mut Random) {
    match content {
        Content::Varint(value) => *value = random.number(*value),
        Content::Fixed64(bytes) => *bytes = random.number(u64::from_le_bytes(*bytes)).to_le_bytes(),
        Content::Fixed32(bytes) => {
            const FLOATS: [f32; 6] = [0.0, -1.0, 0.5, f32::NAN, f32::INFINITY, f32::MAX];
            *bytes = match random.below(2) {
                0 => FLOATS[random.below(FLOATS.len())].to_le_bytes(),
                _ => (random.number(u32::from_le_bytes(*bytes).into()) as u32).to_le_bytes(),
            };
        }
        Content::Bytes(bytes) if random.once_in(3) => bytes::damage(bytes, b"", random),
        Content::Bytes(bytes) => *bytes = words[random.below(words.len())].clone().into_bytes(),
        Content::Message(fields) if random.once_in(2) => {
            let mut bytes = encode(fields);
            bytes::damage(&mut bytes, b"", random);
            *content = Content::Bytes(bytes);
        }
        // Packed numbers look like anything.
        Content::Message(_) => {
            let mut bytes = Vec::new();
            (0..random.below(6)).for_each(|_| put(&mut bytes, random.number(1)));
            *content = Content::Bytes(bytes);
        }
    }
}

/// The texts of a message, such as names.
pub fn texts(fields: &[Field], into: &mut Vec<String>) {
    for field in fields {
        match &field.content {
            Content::Bytes(bytes) if bytes.len() <= 32 => {
                into.extend(std::str::from_utf8(bytes).ok().map(str::to_string));
            }
            Content::Message(inner) => texts(inner, into),
            _ => {}
        }
    }
}
