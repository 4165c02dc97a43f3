// NURSERY_THREAD_VARIABLE: a thread_local variable of a few bytes that costs one instruction. The
// default model of position independent code is a call. A library that is loaded later, with core
// in it, has room for about a thousand bytes of all its thread_local variables together.
//
// It is read in no function that could be inlined into a coroutine, which may change its thread.
#ifndef NURSERY_CORE_INTERNAL_THREAD_VARIABLE_H_
#define NURSERY_CORE_INTERNAL_THREAD_VARIABLE_H_

#define NURSERY_THREAD_VARIABLE [[gnu::tls_model("initial-exec")]] constinit thread_local

#endif  // NURSERY_CORE_INTERNAL_THREAD_VARIABLE_H_
