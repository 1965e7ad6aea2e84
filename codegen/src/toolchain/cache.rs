//! Objects kept in a directory, found by the content they were made from.
//!
//! An entry is written to a temporary file and renamed, so processes can share a directory; it starts with
//! the hash of its content, so a damaged one is a miss. Failures to read or write are misses too: the cache
//! only saves time.
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory of objects.
#[derive(Debug)]
pub struct Cache {
    directory: PathBuf,
}

const HASH_BYTES: usize = 32;

impl Cache {
    /// The cache in `directory`, which is made on the first write.
    pub fn new(directory: impl Into<PathBuf>) -> Cache {
        Cache { directory: directory.into() }
    }

    /// The key of what is made from these parts.
    pub fn key(parts: &[&str]) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The object of this key; `None` if it is missing or damaged.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.path(key)).ok()?;
        let object = bytes.split_off(HASH_BYTES.min(bytes.len()));
        (bytes[..] == blake3::hash(&object).as_bytes()[..]).then_some(object)
    }

    /// Keeps an object.
    pub fn put(&self, key: &str, object: &[u8]) {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let unique = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = self.directory.join(format!("{key}.{}.{unique}.tmp", std::process::id()));
        let entry = [blake3::hash(object).as_bytes(), object].concat();
        let written = fs::create_dir_all(&self.directory)
            .and_then(|()| fs::write(&temporary, entry))
            .and_then(|()| fs::rename(&temporary, self.path(key)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.o"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_and_damage_is_a_miss() {
        let directory = std::env::temp_dir().join(format!("sardonyx-cache-{}", std::process::id()));
        let cache = Cache::new(&directory);
        let key = Cache::key(&["text", "cpu"]);
        assert_ne!(key, Cache::key(&["textcpu", ""]));
        assert_eq!(cache.get(&key), None);
        cache.put(&key, b"object");
        assert_eq!(cache.get(&key).as_deref(), Some(&b"object"[..]));
        let path = cache.path(&key);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(cache.get(&key), None);
        fs::write(&path, b"short").unwrap();
        assert_eq!(cache.get(&key), None);
        cache.put(&key, b"");
        assert_eq!(cache.get(&key).as_deref(), Some(&b""[..]));
        fs::remove_dir_all(&directory).unwrap();
    }
}
