// In what a map's values are stored: one macro chooses, and the whole of the kernels is compiled once for each.
//
//   STORE_BF16   bfloat16, from sm_80 on: training and attacks.
//   STORE_F16    half precision, from sm_75 on: chips without bfloat16. Gradients want a scaled seed.
//   STORE_F32    float; products as three of TF32, which is as good as float: label sets.
//   STORE_TF32   float; products of operands rounded to TF32 (10 bits), as PyTorch's convolutions are by default.
//
// Names of kernels end in the storage (SUFFIXED), so that one emulator holds all four and PTX says which it is.
#pragma once

#if defined(STORE_BF16)
typedef unsigned short Value;
#define SUFFIXED(name) name##_bf16
#elif defined(STORE_F16)
typedef unsigned short Value;
#define SUFFIXED(name) name##_f16
#elif defined(STORE_F32)
typedef float Value;
#define SUFFIXED(name) name##_f32
#elif defined(STORE_TF32)
typedef float Value;
#define SUFFIXED(name) name##_tf32
#else
#error "choose a storage: -DSTORE_BF16, -DSTORE_F16, -DSTORE_F32 or -DSTORE_TF32"
#endif

#if defined(STORE_F32) || defined(STORE_TF32)
#define STORE_FLOATS 1
#endif

const int CHUNK = 8;                           // values of one place that a thread handles at a time
const int PIECE = 16 / (int)sizeof(Value);     // values of one 16-byte copy
