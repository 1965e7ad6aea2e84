// The kernels of the runtime's tests. `kernels.o` is made of this file:
//   clang-19 --target=x86_64-unknown-linux-gnu -c -O2 -fPIC -ffreestanding kernels.c -o kernels.o
// It has every kind of relocation that the loader knows: constants, calls, pointers, the offset table.

typedef unsigned char byte;
typedef long long i64;
#define KERNEL(name) void name(byte *const *args, const i64 *dims, i64 begin, i64 end, byte *scratch)

void *memcpy(void *to, const void *from, unsigned long size);
float fmodf(float a, float b);

// z[i] = x[i] + y[i]
KERNEL(add) {
  const float *x = (const float *)args[0], *y = (const float *)args[1];
  float *z = (float *)args[2];
  for (i64 i = begin; i < end; i++) z[i] = x[i] + y[i];
}

static const float table[8] = {1, 2, 4, 8, 16, 32, 64, 128};

// y[i] = x[i] * table[i % 8]
KERNEL(times_table) {
  const float *x = (const float *)args[0];
  float *y = (float *)args[1];
  for (i64 i = begin; i < end; i++) y[i] = x[i] * table[i & 7];
}

// y[row] = sum of x[row][0..d0], through scratch memory of d0 floats
KERNEL(row_sum) {
  const float *x = (const float *)args[0];
  float *y = (float *)args[1], *row = (float *)scratch;
  for (i64 i = begin; i < end; i++) {
    memcpy(row, x + i * dims[0], dims[0] * sizeof(float));
    float sum = 0;
    for (i64 j = 0; j < dims[0]; j++) sum += row[j];
    y[i] = sum;
  }
}

static float twice(float x) { return x * 2; }
static float half(float x) { return x / 2; }
static float minus(float x) { return -x; }
typedef float (*Function)(float);
static const Function functions[] = {twice, half, minus};

// y[i] = functions[d0](x[i])
KERNEL(call_pointer) {
  const float *x = (const float *)args[0];
  float *y = (float *)args[1];
  for (i64 i = begin; i < end; i++) y[i] = functions[dims[0]](x[i]);
}

// y[i] = fmodf(x[i], 3), by the address of the outside function
KERNEL(remainder) {
  const float *x = (const float *)args[0];
  float *y = (float *)args[1];
  float (*volatile function)(float, float) = fmodf;
  for (i64 i = begin; i < end; i++) y[i] = function(x[i], 3) + 0 * fmodf(x[i], 2);
}

// y[0] = how many of x[0..d0] are positive
KERNEL(count_positive) {
  const float *x = (const float *)args[0];
  i64 count = 0;
  for (i64 i = 0; i < dims[0]; i++) count += x[i] > 0;
  *(i64 *)args[1] = count;
}

// y[..] = the positive ones of x[0..d0]
KERNEL(take_positive) {
  const float *x = (const float *)args[0];
  float *y = (float *)args[1];
  for (i64 i = 0; i < dims[0]; i++)
    if (x[i] > 0) *y++ = x[i];
}

// less[0] = x[0] < limit[0], as one byte
KERNEL(less) { *args[2] = *(const float *)args[0] < *(const float *)args[1]; }

// y[i] = x[i] + the number of the iteration
KERNEL(add_iteration) {
  const float *x = (const float *)args[0];
  float *y = (float *)args[2];
  for (i64 i = begin; i < end; i++) y[i] = x[i] + (float)*(const i64 *)args[1];
}
