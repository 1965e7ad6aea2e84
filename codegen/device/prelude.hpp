// The border between kernels and platforms: everything in which AMD, NVIDIA and the host build of tests
// differ. No includes: hiprtc 5.2 has no headers, NVRTC needs none.
