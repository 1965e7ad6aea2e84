//! The runtime of the Sardonyx compiler: opens and runs program files.
