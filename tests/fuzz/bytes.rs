//! Damage to bytes of any kind.
use super::random::Random;

/// Changes a few places; `other` is what ranges are taken from.
pub fn damage(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        once(bytes, other, random);
    }
}

fn once(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len());
    match random.below(12) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(random.range(bytes.len(), 64))),
        // A range of the other input, in place of one here.
        2 => {
            let (here, there) = (random.range(bytes.len(), 64), random.range(other.len(), 256));
            drop(bytes.splice(here, other[there].iter().copied()));
        }
        // A range twice.
        3 => {
            let range = random.range(bytes.len(), 64);
            let copy = bytes[range].to_vec();
            drop(bytes.splice(at..at, copy));
        }
        4 => {
            let noise: Vec<u8> = (0..random.below(12)).map(|_| random.next() as u8).collect();
            drop(bytes.splice(at..at, noise));
        }
        // A fixed-width number.
        5..=6 => {
            let width = 1 << random.below(4);
            if let Some(field) = bytes.get_mut(at..at + width) {
                let mut old = [0; 8];
                old[..width].copy_from_slice(field);
                field.copy_from_slice(&random.number(u64::from_le_bytes(old)).to_le_bytes()[..width]);
            }
        }
        // A length that promises more than there is.
        7 => bytes.iter_mut().skip(at).take(1 + random.below(10)).for_each(|b| *b |= 0x80),
        8 => {
            let byte = random.next() as u8;
            bytes.iter_mut().skip(at).take(1).for_each(|b| *b = byte);
        }
        _ => bytes.iter_mut().skip(at).take(1).for_each(|b| *b ^= 1 << random.below(8)),
    }
}
