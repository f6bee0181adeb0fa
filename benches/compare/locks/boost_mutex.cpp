// boost::interprocess::interprocess_mutex for Rust.
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <new>

using boost::interprocess::interprocess_mutex;

// What the Rust side reserves.
static_assert(sizeof(interprocess_mutex) <= 64, "the mutex has outgrown its place");

extern "C" void boost_mutex_new(void *place) { new (place) interprocess_mutex(); }
extern "C" void boost_mutex_lock(void *mutex) { static_cast<interprocess_mutex *>(mutex)->lock(); }
extern "C" void boost_mutex_unlock(void *mutex) { static_cast<interprocess_mutex *>(mutex)->unlock(); }
