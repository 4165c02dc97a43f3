// An intrusive doubly linked list: a member costs two pointers and no allocation.
//
// Thread safety: none; the owner of the list guards it.
#ifndef NURSERY_CORE_INTERNAL_LIST_H_
#define NURSERY_CORE_INTERNAL_LIST_H_

#include "nursery/core/check.h"

namespace nursery::internal {

// What can be a member of one List. Tag tells apart several lists of one object.
template <class Tag = void>
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;

  bool linked() const { return next_ != nullptr; }
  void Unlink() {
    if (!linked()) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = nullptr;
  }

 private:
  template <class T, class U>
  friend class List;
  ListNode* prev_ = nullptr;
  ListNode* next_ = nullptr;
};

// First in, first out. T derives from ListNode<Tag>.
template <class T, class Tag = void>
class List {
 public:
  List() { head_.prev_ = head_.next_ = &head_; }
  ~List() { NURSERY_CHECK(empty()) << "a list died with members"; }

  bool empty() const { return head_.next_ == &head_; }
  T* front() { return empty() ? nullptr : Cast(head_.next_); }
  T* next(T* member) {
    ListNode<Tag>* node = static_cast<ListNode<Tag>*>(member)->next_;
    return node == &head_ ? nullptr : Cast(node);
  }

  void PushBack(T* member) {
    ListNode<Tag>* node = member;
    NURSERY_CHECK(!node->linked());
    node->prev_ = head_.prev_;
    node->next_ = &head_;
    head_.prev_->next_ = node;
    head_.prev_ = node;
  }
  T* PopFront() {
    T* member = front();
    if (member != nullptr) static_cast<ListNode<Tag>*>(member)->Unlink();
    return member;
  }

 private:
  static T* Cast(ListNode<Tag>* node) { return static_cast<T*>(node); }

  ListNode<Tag> head_;
};

}  // namespace nursery::internal

#endif  // NURSERY_CORE_INTERNAL_LIST_H_
