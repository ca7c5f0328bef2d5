//! The order of a large sorted set: a B+tree by score and member that knows how many members lie under each of its nodes.
//!
//! ```text
//! inner node   len   keys  firsts  counts  children      of each child: the first member under it with the key of its score,
//!                                                        how many members, and where it is
//! leaf         len  capacity   members                prefixes
//!              2    2      (4) 8 each                 4 each: the upper half of the key of the member's score
//! ```
//!
//! A search in a leaf looks at the prefixes, and at members only where these are equal. Scores that are numbers up to a million differ in their
//! prefixes, so that a search touches one member at most; caching whole scores would cost four bytes a member more.
//!
//! Leaves are as large as they must be, in steps of [`LEAF_STEP`]: whatever order members come in, nine tenths of the room is used. A
//! leaf that is full and gets a member at one end leaves it to a new one, so that scores that only grow fill every leaf.
//!
//! Nodes are not linked to each other or upwards: each is reached from its parent alone, so that one can be shared by whoever took a
//! copy of its parent. Whoever walks remembers the way down.
//!
//! The key and member that an inner node keeps of a child are exact, always: members are freed as soon as they are removed.

use std::ptr::NonNull;

use super::member::Member;
use crate::prefetch::prefetch;
use crate::slab;
use crate::table::Unlocked;

/// Leaves grow and shrink by so many members. With this every size up to 42 members fills its class of the slab.
const LEAF_STEP: usize = 6;

/// More levels than memory can hold.
const HEIGHT_MAX: usize = 12;

/// Members this far ahead of a walk are asked for.
const AHEAD: usize = 8;

#[repr(C)]
struct LeafHeader {
    len: u16,
    capacity: u16,
    unused: u32,
}

/// A leaf of a tree that is borrowed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Leaf(NonNull<u8>);

#[inline]
fn prefix_of(key: u64) -> u32 {
    (key >> 32) as u32
}

impl Leaf {
    fn bytes(capacity: usize) -> usize {
        size_of::<LeafHeader>() + capacity * (size_of::<Member>() + size_of::<u32>())
    }

    /// Room for `len` members.
    fn new(len: usize) -> Leaf {
        let capacity = len.max(1).next_multiple_of(LEAF_STEP);
        let leaf = Leaf(slab::allocate(Leaf::bytes(capacity)));
        // SAFETY: a header fits in what was allocated.
        unsafe { leaf.0.cast::<LeafHeader>().write(LeafHeader { len: 0, capacity: capacity as u16, unused: 0 }) };
        leaf
    }

    fn free(self) {
        // SAFETY: allocated with this size; whoever frees a leaf has taken it out of the tree.
        unsafe { slab::free(self.0, Leaf::bytes(self.capacity())) }
    }

    #[inline]
    fn len(self) -> usize {
        // SAFETY: leaves of a tree are live; likewise below.
        unsafe { self.0.cast::<LeafHeader>().as_ref() }.len as usize
    }

    fn set_len(self, len: usize) {
        // SAFETY: as above, and the tree is borrowed mutably.
        unsafe { (*self.0.cast::<LeafHeader>().as_ptr()).len = len as u16 }
    }

    #[inline]
    fn capacity(self) -> usize {
        // SAFETY: as above.
        unsafe { self.0.cast::<LeafHeader>().as_ref() }.capacity as usize
    }

    #[inline]
    fn members_at(self, index: usize) -> *mut Member {
        debug_assert!(index <= self.capacity());
        // SAFETY: inside the allocation or at its end.
        unsafe { self.0.add(size_of::<LeafHeader>()).cast::<Member>().add(index).as_ptr() }
    }

    #[inline]
    fn prefixes_at(self, index: usize) -> *mut u32 {
        // SAFETY: inside the allocation or at its end.
        unsafe { self.members_at(self.capacity()).cast::<u32>().add(index) }
    }

    /// The lifetime is the tree's borrow, by the caller.
    #[inline]
    fn members<'a>(self) -> &'a [Member] {
        // SAFETY: so many are initialized.
        unsafe { std::slice::from_raw_parts(self.members_at(0), self.len()) }
    }

    #[inline]
    fn prefixes<'a>(self) -> &'a [u32] {
        // SAFETY: so many are initialized.
        unsafe { std::slice::from_raw_parts(self.prefixes_at(0), self.len()) }
    }

    /// How many members stand before this place.
    #[inline]
    fn position(self, key: u64, text: &[u8]) -> usize {
        self.split_point(key, |member| member.compare(key, text).is_lt())
    }

    /// How many members have a smaller key.
    fn position_of_key(self, key: u64) -> usize {
        self.split_point(key, |member| member.key() < key)
    }

    /// Where `before` ends to hold, which it does for all smaller prefixes and for no larger one.
    #[inline]
    fn split_point(self, key: u64, before: impl Fn(Member) -> bool) -> usize {
        let (prefixes, prefix) = (self.prefixes(), prefix_of(key));
        let low = prefixes.partition_point(|&other| other < prefix);
        if prefixes.get(low) != Some(&prefix) {
            return low;
        }
        let high = low + prefixes[low..].partition_point(|&other| other == prefix);
        low + self.members()[low..high].partition_point(|&member| before(member))
    }

    fn write(self, index: usize, member: Member) {
        // SAFETY: callers keep `index` below the capacity, and the tree is borrowed mutably.
        unsafe {
            self.members_at(index).write(member);
            self.prefixes_at(index).write(prefix_of(member.key()));
        }
    }

    /// Puts a member in. The leaf may move.
    #[must_use]
    fn insert(self, index: usize, member: Member) -> Leaf {
        let len = self.len();
        let leaf = if len == self.capacity() { self.resized(len + 1) } else { self };
        // SAFETY: there is room for one more.
        unsafe {
            leaf.members_at(index).copy_to(leaf.members_at(index + 1), len - index);
            leaf.prefixes_at(index).copy_to(leaf.prefixes_at(index + 1), len - index);
        }
        leaf.write(index, member);
        leaf.set_len(len + 1);
        leaf
    }

    /// Takes members out. The leaf may move.
    #[must_use]
    fn remove(self, index: usize, count: usize) -> Leaf {
        let len = self.len() - count;
        // SAFETY: what is moved lies in the leaf.
        unsafe {
            self.members_at(index + count).copy_to(self.members_at(index), len - index);
            self.prefixes_at(index + count).copy_to(self.prefixes_at(index), len - index);
        }
        self.set_len(len);
        // Two steps of slack, so that a leaf that grows and shrinks by one does not move each time.
        if self.capacity() - len >= 3 * LEAF_STEP { self.resized(len) } else { self }
    }

    /// Moves to another size.
    fn resized(self, len: usize) -> Leaf {
        let leaf = Leaf::new(len);
        leaf.take_from(self, 0, self.len());
        self.free();
        leaf
    }

    /// Appends members of another leaf.
    fn take_from(self, other: Leaf, start: usize, count: usize) {
        let len = self.len();
        debug_assert!(len + count <= self.capacity());
        // SAFETY: there is room, and the leaves are two.
        unsafe {
            self.members_at(len).copy_from_nonoverlapping(other.members_at(start), count);
            self.prefixes_at(len).copy_from_nonoverlapping(other.prefixes_at(start), count);
        }
        self.set_len(len + count);
    }
}

#[repr(C)]
struct Inner<const FAN: usize> {
    len: usize,
    keys: [u64; FAN],
    firsts: [Option<Member>; FAN],
    counts: [usize; FAN],
    children: [*mut u8; FAN],
}

/// What an inner node keeps of a child.
#[derive(Clone, Copy)]
struct Child {
    key: u64,
    first: Option<Member>,
    count: usize,
    node: *mut u8,
}

impl Child {
    fn of_leaf(leaf: Leaf) -> Child {
        let first = leaf.members().first().copied();
        Child { key: first.map_or(0, Member::key), first, count: leaf.len(), node: leaf.0.as_ptr() }
    }

    fn of_inner<const FAN: usize>(inner: *mut Inner<FAN>) -> Child {
        // SAFETY: the node is live.
        let node = unsafe { &*inner };
        Child { key: node.keys[0], first: node.firsts[0], count: node.count(), node: inner.cast() }
    }
}

impl<const FAN: usize> Inner<FAN> {
    fn allocate() -> *mut Inner<FAN> {
        let inner = Inner {
            len: 0,
            keys: [0; FAN],
            firsts: [None; FAN],
            counts: [0; FAN],
            children: [std::ptr::null_mut(); FAN],
        };
        let memory = slab::allocate(size_of::<Self>()).cast::<Self>().as_ptr();
        // SAFETY: so much was allocated, aligned to 8.
        unsafe { memory.write(inner) };
        memory
    }

    /// # Safety
    /// The node came from `allocate`, and is out of the tree.
    unsafe fn free(node: *mut Inner<FAN>) {
        // SAFETY: the caller's promise.
        unsafe { slab::free(NonNull::new_unchecked(node).cast(), size_of::<Self>()) }
    }

    fn count(&self) -> usize {
        self.counts[..self.len].iter().sum()
    }

    /// The child under which this place lies.
    #[inline]
    fn child_for(&self, key: u64, text: &[u8]) -> usize {
        let keys = &self.keys[..self.len];
        let mut behind = keys.partition_point(|&other| other < key);
        if keys.get(behind) == Some(&key) {
            let equal = keys[behind..].partition_point(|&other| other == key);
            let firsts = &self.firsts[behind..behind + equal];
            behind += firsts.partition_point(|first| first.is_some_and(|first| first.text() <= text));
        }
        behind.saturating_sub(1)
    }

    fn set(&mut self, index: usize, child: Child) {
        self.keys[index] = child.key;
        self.firsts[index] = child.first;
        self.counts[index] = child.count;
        self.children[index] = child.node;
    }

    fn insert(&mut self, index: usize, child: Child) {
        let len = self.len;
        self.keys.copy_within(index..len, index + 1);
        self.firsts.copy_within(index..len, index + 1);
        self.counts.copy_within(index..len, index + 1);
        self.children.copy_within(index..len, index + 1);
        self.len += 1;
        self.set(index, child);
    }

    fn remove(&mut self, index: usize) {
        let len = self.len;
        self.keys.copy_within(index + 1..len, index);
        self.firsts.copy_within(index + 1..len, index);
        self.counts.copy_within(index + 1..len, index);
        self.children.copy_within(index + 1..len, index);
        self.len -= 1;
    }

    fn take_from(&mut self, other: &mut Inner<FAN>, start: usize) {
        let (len, count) = (self.len, other.len - start);
        self.keys[len..len + count].copy_from_slice(&other.keys[start..start + count]);
        self.firsts[len..len + count].copy_from_slice(&other.firsts[start..start + count]);
        self.counts[len..len + count].copy_from_slice(&other.counts[start..start + count]);
        self.children[len..len + count].copy_from_slice(&other.children[start..start + count]);
        self.len += count;
        other.len = start;
    }
}

/// The way down to a leaf: inner nodes, and which child was taken.
struct Path<const FAN: usize> {
    steps: [(*mut Inner<FAN>, usize); HEIGHT_MAX],
    len: usize,
}

impl<const FAN: usize> Path<FAN> {
    #[inline]
    fn new() -> Path<FAN> {
        Path { steps: [(std::ptr::null_mut(), 0); HEIGHT_MAX], len: 0 }
    }

    #[inline]
    fn push(&mut self, node: *mut Inner<FAN>, index: usize) {
        self.steps[self.len] = (node, index);
        self.len += 1;
    }

    #[inline]
    fn pop(&mut self) -> Option<(*mut Inner<FAN>, usize)> {
        self.len = self.len.checked_sub(1)?;
        Some(self.steps[self.len])
    }
}

/// The order of members that somebody else owns. Tests make the nodes small.
pub(super) struct Order<const LEAF: usize = 84, const FAN: usize = 30> {
    root: *mut u8,
    /// Levels of inner nodes above the leaves.
    height: usize,
    len: usize,
}

impl<const LEAF: usize, const FAN: usize> Order<LEAF, FAN> {
    const FITS: () = assert!(LEAF >= 4 && FAN >= 4 && LEAF <= u16::MAX as usize - LEAF_STEP);

    pub(super) fn new() -> Self {
        let () = Self::FITS;
        Order { root: Leaf::new(0).0.as_ptr(), height: 0, len: 0 }
    }

    /// Of members in ascending order.
    pub(super) fn from_sorted(members: &[Member]) -> Self {
        // Some room, so that the first members to come do not split every leaf.
        let leaf_len = (LEAF - LEAF / 8).max(1);
        let mut children: Vec<Child> = members
            .chunks(leaf_len)
            .map(|chunk| {
                let leaf = Leaf::new(chunk.len());
                chunk.iter().enumerate().for_each(|(index, &member)| leaf.write(index, member));
                leaf.set_len(chunk.len());
                Child::of_leaf(leaf)
            })
            .collect();
        let mut height = 0;
        while children.len() > 1 {
            children = children
                .chunks(FAN - FAN / 8)
                .map(|chunk| {
                    let node = Inner::<FAN>::allocate();
                    // SAFETY: allocated just now.
                    chunk.iter().enumerate().for_each(|(index, &child)| unsafe { (*node).insert(index, child) });
                    Child::of_inner(node)
                })
                .collect();
            height += 1;
        }
        match children.first() {
            Some(root) => Order { root: root.node, height, len: members.len() },
            None => Self::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The leaf where this place lies, the way to it, and the place in it.
    #[inline]
    fn descend(&self, key: u64, text: &[u8]) -> (Path<FAN>, Leaf, usize) {
        let mut path = Path::new();
        let mut node = self.root;
        for _ in 0..self.height {
            let inner = node.cast::<Inner<FAN>>();
            // SAFETY: nodes of the tree are live; likewise below.
            let index = unsafe { (*inner).child_for(key, text) };
            path.push(inner, index);
            // SAFETY: as above.
            node = unsafe { (*inner).children[index] };
        }
        let leaf = Leaf(NonNull::new(node).expect("children are not null"));
        (path, leaf, leaf.position(key, text))
    }

    /// Adds to the counts on the way.
    fn count_on(path: &Path<FAN>, change: isize) {
        for &(inner, index) in &path.steps[..path.len] {
            // SAFETY: nodes on a path are live, and the tree is borrowed mutably; likewise below.
            unsafe { (*inner).counts[index] = (*inner).counts[index].wrapping_add_signed(change) };
        }
    }

    /// Adds a member that is not there.
    pub(super) fn insert(&mut self, member: Member) {
        let (key, text) = (member.key(), member.text());
        let (mut path, leaf, at) = self.descend(key, text);
        Self::count_on(&path, 1);
        self.len += 1;
        if leaf.len() < LEAF {
            let moved = leaf.insert(at, member);
            if moved != leaf || at == 0 {
                self.refresh(path, moved);
            }
            return;
        }
        let right = Leaf::new(if at == 0 || at == leaf.len() { 1 } else { leaf.len() / 2 + 1 });
        // At either end the new member stays alone, else each half keeps its part.
        let (left, right) = if at == leaf.len() {
            (leaf, right.insert(0, member))
        } else if at == 0 {
            (right.insert(0, member), leaf)
        } else {
            let middle = leaf.len() / 2;
            right.take_from(leaf, middle, leaf.len() - middle);
            let leaf = leaf.remove(middle, leaf.len() - middle);
            match at.checked_sub(middle) {
                Some(at) if at > 0 => (leaf, right.insert(at, member)),
                _ => (leaf.insert(at, member), right),
            }
        };
        let (mut left, mut right) = (Child::of_leaf(left), Child::of_leaf(right));
        while let Some((inner, index)) = path.pop() {
            // SAFETY: as in `count_on`.
            let node = unsafe { &mut *inner };
            node.set(index, left);
            if node.len < FAN {
                node.insert(index + 1, right);
                return self.refresh_firsts(path, Child::of_inner(inner));
            }
            // Split: at the right end a new node gets the new child alone, as with leaves.
            let middle = if index + 1 == FAN { FAN } else { FAN / 2 };
            let other = Inner::<FAN>::allocate();
            // SAFETY: allocated just now.
            let upper = unsafe { &mut *other };
            upper.take_from(node, middle);
            match (index + 1).checked_sub(middle) {
                Some(at) if at > 0 || middle == FAN => upper.insert(at, right),
                _ => node.insert(index + 1, right),
            }
            (left, right) = (Child::of_inner(inner), Child::of_inner(other));
        }
        let root = Inner::<FAN>::allocate();
        // SAFETY: allocated just now.
        unsafe {
            (*root).insert(0, left);
            (*root).insert(1, right);
        }
        self.root = root.cast();
        self.height += 1;
    }

    /// A leaf has moved or has another first member: tells its ancestors.
    fn refresh(&mut self, path: Path<FAN>, leaf: Leaf) {
        if path.len == 0 {
            self.root = leaf.0.as_ptr();
        }
        self.refresh_firsts(path, Child::of_leaf(leaf));
    }

    /// Writes a child into its parent, and its first member into all ancestors that have it first too.
    fn refresh_firsts(&mut self, mut path: Path<FAN>, mut child: Child) {
        while let Some((inner, index)) = path.pop() {
            // SAFETY: as in `count_on`.
            let node = unsafe { &mut *inner };
            node.set(index, child);
            if index > 0 {
                return;
            }
            child = Child { count: if path.len > 0 { node.count() } else { 0 }, node: inner.cast(), ..child };
        }
    }

    /// Removes a member that is there.
    pub(super) fn remove(&mut self, member: Member) {
        let (path, leaf, at) = self.descend(member.key(), member.text());
        assert!(leaf.members().get(at) == Some(&member), "a member is not where its score says");
        self.remove_from_leaf(path, leaf, at, 1);
    }

    /// Removes the members from rank `start` to before `end`, each shown to `visit` first.
    pub(super) fn remove_range(&mut self, start: usize, end: usize, mut visit: impl FnMut(Member)) {
        let mut left = end - start;
        while left > 0 {
            let (path, leaf, at) = self.seek(start);
            let count = left.min(leaf.len() - at);
            // What is visited may be freed, and is only moved as a pointer from then on. The firsts of ancestors are written anew below.
            leaf.members()[at..at + count].iter().for_each(|&member| visit(member));
            self.remove_from_leaf(path, leaf, at, count);
            left -= count;
        }
    }

    fn remove_from_leaf(&mut self, mut path: Path<FAN>, leaf: Leaf, at: usize, count: usize) {
        Self::count_on(&path, -(count as isize));
        self.len -= count;
        let moved = leaf.remove(at, count);
        let Some((inner, index)) = path.pop() else {
            self.root = moved.0.as_ptr();
            return;
        };
        if moved == leaf && at > 0 && leaf.len() > LEAF / 4 {
            return;
        }
        // SAFETY: as in `count_on`.
        let node = unsafe { &mut *inner };
        if moved.len() == 0 {
            moved.free();
            node.remove(index);
        } else {
            node.set(index, Child::of_leaf(moved));
            if moved.len() <= LEAF / 4 {
                Self::merge_leaf(node, index);
            }
        }
        self.settle(path, inner);
    }

    /// Merges a small leaf with a neighbour if both together leave room for more. So of two neighbours one at least is half full, or nearly.
    fn merge_leaf(node: &mut Inner<FAN>, index: usize) {
        let leaf_of = |node: &Inner<FAN>, index: usize| Leaf(NonNull::new(node.children[index]).expect("not null"));
        for left in [index.checked_sub(1), Some(index)].into_iter().flatten() {
            if left + 1 < node.len && node.counts[left] + node.counts[left + 1] <= LEAF - LEAF / 4 {
                let (first, second) = (leaf_of(node, left), leaf_of(node, left + 1));
                let merged = Leaf::new(first.len() + second.len());
                merged.take_from(first, 0, first.len());
                merged.take_from(second, 0, second.len());
                first.free();
                second.free();
                node.set(left, Child::of_leaf(merged));
                node.remove(left + 1);
                return;
            }
        }
    }

    /// The children of `inner` have changed, perhaps to fewer: makes the levels above right.
    fn settle(&mut self, mut path: Path<FAN>, mut inner: *mut Inner<FAN>) {
        while let Some((parent, index)) = path.pop() {
            // SAFETY: as in `count_on`; a node taken out of its parent is used no more.
            unsafe {
                let node = &mut *parent;
                if (*inner).len == 0 {
                    Inner::free(inner);
                    node.remove(index);
                } else {
                    node.set(index, Child::of_inner(inner));
                    if (*inner).len <= FAN / 4 {
                        Self::merge_inner(node, index);
                    }
                }
            }
            inner = parent;
        }
        // SAFETY: as above.
        unsafe {
            while self.height > 0 && (*inner).len <= 1 {
                if (*inner).len == 0 {
                    self.height = 0;
                    self.root = Leaf::new(0).0.as_ptr();
                } else {
                    self.height -= 1;
                    self.root = (*inner).children[0];
                }
                Inner::free(inner);
                inner = self.root.cast();
            }
        }
    }

    /// As [`Self::merge_leaf`], one level up.
    ///
    /// # Safety
    /// The children of `node` are inner nodes.
    unsafe fn merge_inner(node: &mut Inner<FAN>, index: usize) {
        for left in [index.checked_sub(1), Some(index)].into_iter().flatten() {
            if left + 1 >= node.len {
                continue;
            }
            let (first, second) =
                (node.children[left].cast::<Inner<FAN>>(), node.children[left + 1].cast::<Inner<FAN>>());
            // SAFETY: the caller's promise; children are live, and two.
            unsafe {
                if (*first).len + (*second).len <= FAN - FAN / 4 {
                    (*first).take_from(&mut *second, 0);
                    Inner::free(second);
                    node.set(left, Child::of_inner(first));
                    node.remove(left + 1);
                    return;
                }
            }
        }
    }

    /// A member lies elsewhere now. Where it was can still be read.
    pub(super) fn relocate(&mut self, old: Member, new: Member) {
        let (path, leaf, at) = self.descend(old.key(), old.text());
        assert!(leaf.members().get(at) == Some(&old), "a member is not where its score says");
        leaf.write(at, new);
        if at == 0 {
            self.refresh_firsts(path, Child::of_leaf(leaf));
        }
    }

    /// Gives a member another score.
    pub(super) fn update(&mut self, unlocked: &Unlocked<Member>, score: f64) {
        let member = unlocked.element();
        let (path, leaf, at) = self.descend(member.key(), member.text());
        let members = leaf.members();
        assert!(members.get(at) == Some(&member), "a member is not where its score says");
        // Between the same neighbours of its leaf it stays where it is.
        let key = super::member::order_key(score);
        let stays = at > 0
            && at + 1 < members.len()
            && members[at - 1].compare(key, member.text()).is_lt()
            && members[at + 1].compare(key, member.text()).is_gt();
        if stays {
            unlocked.set_score(score);
            leaf.write(at, member);
        } else {
            self.remove_from_leaf(path, leaf, at, 1);
            unlocked.set_score(score);
            self.insert(member);
        }
    }

    /// How many members stand before this one, which is in the tree. In its leaf it is known by its address: to compare it with its
    /// neighbours would be a cache miss for each of them.
    pub(super) fn rank(&self, member: Member) -> usize {
        let (key, text) = (member.key(), member.text());
        let mut rank = 0;
        let mut node = self.root;
        for _ in 0..self.height {
            // SAFETY: nodes of the tree are live.
            let inner = unsafe { &*node.cast::<Inner<FAN>>() };
            let index = inner.child_for(key, text);
            rank += inner.counts[..index].iter().sum::<usize>();
            node = inner.children[index];
        }
        let leaf = Leaf(NonNull::new(node).expect("children are not null"));
        let at = leaf.members().iter().position(|&other| other == member);
        rank + at.expect("a member is in the leaf that its place leads to")
    }

    /// How many members have a key smaller than this.
    pub(super) fn rank_of_key(&self, key: u64) -> usize {
        let mut rank = 0;
        let mut node = self.root;
        for _ in 0..self.height {
            // SAFETY: nodes of the tree are live.
            let inner = unsafe { &*node.cast::<Inner<FAN>>() };
            let index = inner.keys[..inner.len].partition_point(|&other| other < key).saturating_sub(1);
            rank += inner.counts[..index].iter().sum::<usize>();
            node = inner.children[index];
        }
        rank + Leaf(NonNull::new(node).expect("children are not null")).position_of_key(key)
    }

    /// How many members fulfil what holds for the first of them and for none of the others.
    pub(super) fn rank_where(&self, holds: impl Fn(&[u8]) -> bool) -> usize {
        let mut rank = 0;
        let mut node = self.root;
        for _ in 0..self.height {
            // SAFETY: nodes of the tree are live.
            let inner = unsafe { &*node.cast::<Inner<FAN>>() };
            let firsts = &inner.firsts[..inner.len];
            let index =
                firsts.partition_point(|first| first.is_some_and(|first| holds(first.text()))).saturating_sub(1);
            rank += inner.counts[..index].iter().sum::<usize>();
            node = inner.children[index];
        }
        let leaf = Leaf(NonNull::new(node).expect("children are not null"));
        rank + leaf.members().partition_point(|member| holds(member.text()))
    }

    /// The way to the member of this rank. At the end of all it is the place behind the last.
    fn seek(&self, rank: usize) -> (Path<FAN>, Leaf, usize) {
        let mut left = rank;
        let mut path = Path::new();
        let mut node = self.root;
        for _ in 0..self.height {
            let pointer = node.cast::<Inner<FAN>>();
            // SAFETY: nodes of the tree are live.
            let inner = unsafe { &*pointer };
            let mut index = 0;
            while index + 1 < inner.len && left >= inner.counts[index] {
                left -= inner.counts[index];
                index += 1;
            }
            path.push(pointer, index);
            node = inner.children[index];
        }
        (path, Leaf(NonNull::new(node).expect("children are not null")), left)
    }

    /// The member of this rank.
    pub(super) fn nth(&self, rank: usize) -> Option<Member> {
        let (_, leaf, at) = self.seek(rank);
        leaf.members().get(at).copied()
    }

    /// The members from rank `start` to before `end`.
    pub(super) fn walk(&self, start: usize, end: usize) -> Walk<'_, FAN> {
        let (path, leaf, at) = self.seek(start);
        Walk { path, height: self.height, members: leaf.members(), at, left: end.saturating_sub(start) }
    }

    /// The members from before rank `end` down to `start`.
    pub(super) fn walk_back(&self, start: usize, end: usize) -> WalkBack<'_, FAN> {
        let (path, leaf, at) = self.seek(end.saturating_sub(1));
        let at = (at + 1).min(leaf.len());
        WalkBack(Walk { path, height: self.height, members: leaf.members(), at, left: end.saturating_sub(start) })
    }

    /// Bytes of all nodes, estimated from so many leaves (0: from all).
    pub(super) fn allocated_bytes(&self, samples: usize) -> usize {
        let leaf_bytes = |leaf: Leaf| slab::rounded(Leaf::bytes(leaf.capacity()));
        if samples == 0 || self.height == 0 {
            let mut bytes = 0;
            self.each_node(&mut |node, level| {
                bytes += match level {
                    0 => leaf_bytes(Leaf(NonNull::new(node).expect("not null"))),
                    _ => slab::rounded(size_of::<Inner<FAN>>()),
                }
            });
            return bytes;
        }
        let leaves = (0..samples).map(|nth| self.seek(nth * self.len / samples).1);
        let (bytes, members) =
            leaves.fold((0, 0), |(bytes, members), leaf| (bytes + leaf_bytes(leaf), members + leaf.len()));
        // Inner nodes are one for some 20 leaves.
        (bytes as f64 / members as f64 * self.len as f64 * 1.05) as usize
    }

    /// Every node, after the nodes below it.
    fn each_node(&self, visit: &mut impl FnMut(*mut u8, usize)) {
        fn go<const FAN: usize>(node: *mut u8, level: usize, visit: &mut impl FnMut(*mut u8, usize)) {
            if level > 0 {
                // SAFETY: nodes of the tree are live until they are visited.
                let inner = unsafe { &*node.cast::<Inner<FAN>>() };
                inner.children[..inner.len].iter().for_each(|&child| go::<FAN>(child, level - 1, visit));
            }
            visit(node, level);
        }
        go::<FAN>(self.root, self.height, visit);
    }
}

impl<const LEAF: usize, const FAN: usize> Default for Order<LEAF, FAN> {
    fn default() -> Self {
        Order::new()
    }
}

impl<const LEAF: usize, const FAN: usize> Drop for Order<LEAF, FAN> {
    fn drop(&mut self) {
        self.each_node(&mut |node, level| match level {
            0 => Leaf(NonNull::new(node).expect("not null")).free(),
            // SAFETY: visited after all below it, and never again.
            _ => unsafe { Inner::<FAN>::free(node.cast()) },
        });
    }
}

/// Members in ascending order.
pub(super) struct Walk<'a, const FAN: usize = 30> {
    path: Path<FAN>,
    height: usize,
    members: &'a [Member],
    at: usize,
    left: usize,
}

impl<const FAN: usize> Walk<'_, FAN> {
    /// Goes to the leaf after (`forward`) or before this one. Says whether there is one.
    #[cold]
    fn change_leaf(&mut self, forward: bool) -> bool {
        let mut node = loop {
            let Some((inner, index)) = self.path.pop() else { return false };
            // SAFETY: the tree is borrowed, and so are its nodes; likewise below.
            let inner_len = unsafe { (*inner).len };
            let next = if forward { Some(index + 1).filter(|&next| next < inner_len) } else { index.checked_sub(1) };
            if let Some(next) = next {
                self.path.push(inner, next);
                // SAFETY: as above.
                break unsafe { (*inner).children[next] };
            }
        };
        while self.path.len < self.height {
            let inner = node.cast::<Inner<FAN>>();
            // SAFETY: as above.
            unsafe {
                let index = if forward { 0 } else { (*inner).len - 1 };
                self.path.push(inner, index);
                node = (*inner).children[index];
            }
        }
        self.members = Leaf(NonNull::new(node).expect("children are not null")).members();
        self.at = if forward { 0 } else { self.members.len() };
        let near = if forward {
            0..AHEAD.min(self.members.len())
        } else {
            self.members.len().saturating_sub(AHEAD)..self.members.len()
        };
        self.members[near].iter().for_each(|member| prefetch(member.pointer()));
        true
    }
}

impl<const FAN: usize> Iterator for Walk<'_, FAN> {
    type Item = Member;

    #[inline]
    fn next(&mut self) -> Option<Member> {
        self.left = self.left.checked_sub(1)?;
        if self.at == self.members.len() && !self.change_leaf(true) {
            return None;
        }
        if let Some(ahead) = self.members.get(self.at + AHEAD) {
            prefetch(ahead.pointer());
        }
        self.at += 1;
        Some(self.members[self.at - 1])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Members in descending order.
pub(super) struct WalkBack<'a, const FAN: usize = 30>(Walk<'a, FAN>);

impl<const FAN: usize> Iterator for WalkBack<'_, FAN> {
    type Item = Member;

    #[inline]
    fn next(&mut self) -> Option<Member> {
        let walk = &mut self.0;
        walk.left = walk.left.checked_sub(1)?;
        if walk.at == 0 && !walk.change_leaf(false) {
            return None;
        }
        walk.at -= 1;
        if let Some(ahead) = walk.at.checked_sub(AHEAD) {
            prefetch(walk.members[ahead].pointer());
        }
        Some(walk.members[walk.at])
    }
}
