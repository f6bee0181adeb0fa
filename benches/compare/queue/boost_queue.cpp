// boost::interprocess::message_queue for Rust.
#include <boost/interprocess/ipc/message_queue.hpp>
#include <cstddef>

using namespace boost::interprocess;

// The name is gone at once: forked processes have the mapping.
extern "C" void *boost_queue_new(const char *name, std::size_t messages, std::size_t bytes) {
    try {
        message_queue::remove(name);
        auto *queue = new message_queue(create_only, name, messages, bytes);
        message_queue::remove(name);
        return queue;
    } catch (...) {
        return nullptr;
    }
}

extern "C" bool boost_queue_send(void *queue, const void *message, std::size_t bytes) {
    try {
        static_cast<message_queue *>(queue)->send(message, bytes, 0);
        return true;
    } catch (...) {
        return false;
    }
}

extern "C" bool boost_queue_receive(void *queue, void *message, std::size_t bytes) {
    try {
        message_queue::size_type received = 0;
        unsigned int priority = 0;
        static_cast<message_queue *>(queue)->receive(message, bytes, received, priority);
        return received == bytes;
    } catch (...) {
        return false;
    }
}
