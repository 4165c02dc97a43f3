// Loads the library that is its argument and calls RunTasks.
#include <dlfcn.h>

#include <iostream>

int main(int argc, char** argv) {
  void* const library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : nullptr;
  auto* const run =
      library == nullptr ? nullptr : reinterpret_cast<bool (*)()>(dlsym(library, "RunTasks"));
  if (run == nullptr) {
    std::cerr << dlerror() << '\n';
    return 1;
  }
  return run() ? 0 : 1;
}
