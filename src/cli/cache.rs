//! `cache`: what the code-object cache holds, and cleaning it.
use super::args::{Cache, CacheVerb};
use super::common;
use super::{Failure, Outcome};
use anyhow::anyhow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file of the cache: path, size in bytes, when it was last used.
type Entry = (PathBuf, u64, SystemTime);

pub(super) fn cache(args: &Cache) -> Outcome {
    let directory = args.cache.clone().or_else(common::default_cache);
    let directory = directory
        .ok_or_else(|| Failure::Usage(anyhow!("no home directory: give the cache with --cache DIR")))?;
    let entries = entries(&directory)?;
    match args.verb {
        CacheVerb::Ls => println!("{}: {}", directory.display(), total(&entries)),
        CacheVerb::Gc { days } => {
            let limit = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
            let (old, kept): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|e| e.2 < limit);
            for (path, ..) in &old {
                std::fs::remove_file(path).map_err(|e| Failure::Run(anyhow!("{}: {e}", path.display())))?;
            }
            println!("{}: removed {}, kept {}", directory.display(), total(&old), total(&kept));
        }
    }
    Ok(())
}

fn total(entries: &[Entry]) -> String {
    format!("{} objects, {}", entries.len(), common::mebibytes(entries.iter().map(|e| e.1).sum()))
}

fn entries(directory: &Path) -> Result<Vec<Entry>, Failure> {
    let Ok(listing) = std::fs::read_dir(directory) else { return Ok(Vec::new()) };
    let mut entries = Vec::new();
    for item in listing.flatten() {
        let error = |e: std::io::Error| Failure::Run(anyhow!("{}: {e}", item.path().display()));
        let data = item.metadata().map_err(error)?;
        if data.is_file() {
            let used = data.accessed().or_else(|_| data.modified()).map_err(error)?;
            entries.push((item.path(), data.len(), used));
        }
    }
    Ok(entries)
}
