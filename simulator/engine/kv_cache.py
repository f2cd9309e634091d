"""KV blocks of one server: reference counts, least-recently-used reuse, and finding a known prefix again.

Behaves like a queue of single free blocks: allocation takes blocks from its head and forgets their
content; release appends a request's blocks to its tail, last block first, and their content stays
findable until the block is taken again. Every copy of a content is findable; a search finds the
oldest one.

Works on extents instead of single blocks. Content matters only for the prefix a group shares, for what a session
has computed, and for the blocks of a request that was preempted, so all other blocks are anonymous and merely counted.
Turns of a session follow each other, so blocks that a turn fills with its answer are named when it lets them go.
Blocks that were named together stay one `Run` until somebody uses only a part of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator

from simulator.errors import InvariantError


class Run:
    """Consecutive blocks that are held, freed and ordered together.

    Attributes
    ----------
    stream
        Whose content it is: a prefix group or a preempted request's table; None for anonymous blocks.
    first, count
        Position of the first block in the stream, and number of blocks.
    holders
        Requests that use the blocks; 0 when the run is in the queue of free blocks, where it stands
        for its blocks from last to first.
    rest
        The blocks that were cut off behind this run while it was held; whoever held the whole run
        reaches them here.
    """

    __slots__ = ("count", "first", "holders", "rest", "stream")

    def __init__(self, stream: Hashable | None, first: int, count: int, holders: int = 0) -> None:
        self.stream = stream
        self.first = first
        self.count = count
        self.holders = holders
        self.rest: Run | None = None

    def pieces(self, count: int) -> list[Run]:
        """Return the runs that the first `count` blocks consist of by now."""
        if self.count == count:
            return [self]
        found: list[Run] = []
        run: Run | None = self
        while run is not None and count > 0:
            found.append(run)
            count -= run.count
            run = run.rest
        return found


class BlockTable:
    """The named blocks one request holds; its further blocks are anonymous and follow from its length.

    Attributes
    ----------
    group, shared_blocks
        Prefix group or session, and number of full blocks whose content all of it shares.
    outer_group, outer_blocks
        Group that the prefix group begins alike with, and number of those blocks that are the outer group's.
    named, named_blocks
        Runs held with the number of their blocks held, in order of position; sum of those numbers.
    keeps_answer
        Generated tokens are the group's content too, as those of a session are.
    was_preempted
        The request may find blocks of its own.
    """

    __slots__ = (
        "group",
        "keeps_answer",
        "named",
        "named_blocks",
        "outer_blocks",
        "outer_group",
        "shared_blocks",
        "was_preempted",
    )

    def __init__(self, group: str | None, shared_blocks: int) -> None:
        self.group = group
        self.shared_blocks = shared_blocks if group is not None else 0
        self.outer_group: str | None = None
        self.outer_blocks = 0
        self.named: list[tuple[Run, int]] = []
        self.named_blocks = 0
        self.keeps_answer = False
        self.was_preempted = False

    def begin_with(self, outer_group: str, outer_blocks: int) -> None:
        """Let the first blocks of the shared prefix be those of an outer group."""
        if outer_blocks and self.shared_blocks:
            self.outer_group = outer_group
            self.outer_blocks = min(outer_blocks, self.shared_blocks)


class Found:
    """The longest known beginning of a request, as `KvCache.find` sees it.

    Attributes
    ----------
    runs
        Runs in order of position, each with how many of its first blocks are meant.
    blocks, free_blocks
        Blocks in total, and those among them that nobody holds at present.
    """

    __slots__ = ("blocks", "free_blocks", "runs")

    def __init__(self) -> None:
        self.runs: list[tuple[Run, int]] = []
        self.blocks = 0
        self.free_blocks = 0


NOTHING_FOUND = Found()


class KvCache:
    """All KV blocks of one server.

    Attributes
    ----------
    free_blocks
        Blocks nobody holds, whatever content they still carry.
    """

    def __init__(self, blocks: int, block_tokens: int, *, prefix_caching: bool) -> None:
        self.block_tokens = block_tokens
        self.total_blocks = blocks
        self.free_blocks = blocks
        self._prefix_caching = prefix_caching
        fresh = Run(None, 0, blocks)
        self._free: OrderedDict[Run, None] = OrderedDict({fresh: None})
        # First and last run of the queue, as far as known: an anonymous one with blocks left is still there.
        self._head = self._tail = fresh
        self._index: dict[Hashable, dict[int, Run]] = {}
        self._spares: dict[tuple[Hashable, int], OrderedDict[Run, None]] = {}

    @property
    def used_blocks(self) -> int:
        """Blocks somebody holds."""
        return self.total_blocks - self.free_blocks

    def blocks_for(self, tokens: int) -> int:
        """Return how many blocks hold `tokens` tokens."""
        return -(-tokens // self.block_tokens)

    def find(self, table: BlockTable, limit_blocks: int) -> Found:
        """Return the longest known beginning of a request, at most `limit_blocks` full blocks."""
        if not self._prefix_caching or not (table.shared_blocks or table.was_preempted):
            return NOTHING_FOUND
        found = Found()
        shared = table.shared_blocks
        if shared > limit_blocks:
            shared = limit_blocks
        outer = table.outer_blocks
        if outer:
            self._follow(table.outer_group, min(outer, shared), found)
        if found.blocks >= outer:
            self._follow(table.group, shared, found)
        if table.was_preempted and found.blocks == shared:
            self._follow(table, limit_blocks, found)
        return found

    def claim(self, table: BlockTable, found: Found) -> None:
        """Let a request hold the blocks that `find` returned."""
        for run, count in found.runs:
            table.named.append((self._hold(run, count), count))
        table.named_blocks = found.blocks

    def take(self, count: int) -> None:
        """Take `count` blocks from the head of the free queue; what they contained is forgotten.

        Raises
        ------
        InvariantError
            If fewer blocks are free.
        """
        if count > self.free_blocks:
            raise InvariantError(f"{count} KV blocks taken but only {self.free_blocks} are free")
        self.free_blocks -= count
        head = self._head
        if head.stream is None and head.count > count:
            head.count -= count
        else:
            self._take_runs(count)

    def name_shared(self, table: BlockTable, tokens: int) -> None:
        """Make the full blocks among the first `tokens` tokens findable for the request's prefix group."""
        end = min(table.shared_blocks, tokens // self.block_tokens)
        if end <= table.named_blocks or not self._prefix_caching:
            return
        outer_end = min(table.outer_blocks, end)
        if table.named_blocks < outer_end:
            for run in self._name(table.outer_group, table.named_blocks, outer_end):
                table.named.append((run, run.count))
            table.named_blocks = outer_end
        for run in self._name(table.group, table.named_blocks, end):
            table.named.append((run, run.count))
        table.named_blocks = end

    def release(self, table: BlockTable, tokens: int) -> None:
        """Free the blocks of a finished request that held `tokens` tokens; only a session has further use for them."""
        if table.keeps_answer:
            self._release_findable(table, tokens, table.group)
            return
        self._free_anonymous(self.blocks_for(tokens) - table.named_blocks)
        self._free_named(table)

    def release_preempted(self, table: BlockTable, tokens: int) -> None:
        """Free the blocks of a request that will come back: its full blocks can be found by itself."""
        self._release_findable(table, tokens, table.group if table.keeps_answer else table)
        table.was_preempted = True

    def _release_findable(self, table: BlockTable, tokens: int, stream: Hashable | None) -> None:
        full = max(tokens // self.block_tokens, table.named_blocks) if self._prefix_caching else 0
        self._free_anonymous(self.blocks_for(tokens) - full)
        if full > table.named_blocks:
            for run in reversed(list(self._name(stream, table.named_blocks, full))):
                self._let_go(run)
        self._free_named(table)

    def _take_runs(self, count: int) -> None:
        while count:
            run = next(iter(self._free))
            taken = min(count, run.count)
            run.count -= taken
            count -= taken
            if run.stream is not None:
                self._forget(run, taken)
            if not run.count:
                del self._free[run]
            self._head = run

    def _follow(self, stream: Hashable | None, end: int, found: Found) -> None:
        """Extend `found` by what the index knows of `stream`, up to position `end`."""
        chain = self._index.get(stream)
        while chain is not None and found.blocks < end:
            run = chain.get(found.blocks)
            if run is None:
                return
            count = run.count
            if count > end - found.blocks:
                count = end - found.blocks
            found.runs.append((run, count))
            found.blocks += count
            if not run.holders:
                found.free_blocks += count

    def _hold(self, run: Run, count: int) -> Run:
        """Add a holder to the first `count` blocks of `run`."""
        if run.holders:
            if count < run.count:
                self._cut(run, count)
            run.holders += 1
            return run
        if count < run.count:
            run = self._cut_free(run, count)
        else:
            del self._free[run]
        self.free_blocks -= count
        run.holders = 1
        return run

    def _cut(self, run: Run, count: int) -> None:
        """Cut a held run behind `count` blocks; those who hold all of it reach the rest through it."""
        rest = Run(run.stream, run.first + count, run.count - count, run.holders)
        rest.rest = run.rest
        run.count = count
        run.rest = rest
        self._point_index_at(rest)

    def _cut_free(self, run: Run, count: int) -> Run:
        """Cut the first `count` blocks off a free run, which keeps its place in the queue."""
        beginning = Run(run.stream, run.first, count)
        run.first += count
        run.count -= count
        self._point_index_at(beginning)
        return beginning

    def _point_index_at(self, run: Run) -> None:
        # Only the index's own copy is ever longer than one block and hence cut: see `_name`.
        chain = self._index[run.stream]
        for position in range(run.first, run.first + run.count):
            chain[position] = run

    def _name(self, stream: Hashable, position: int, end: int) -> Iterator[Run]:
        """Name held blocks; a block whose content the index already has becomes a spare of its own."""
        chain = self._index.setdefault(stream, {})
        while position < end:
            run = Run(stream, position, 1, holders=1)
            if position in chain:
                self._spares.setdefault((stream, position), OrderedDict())[run] = None
            else:
                while position + run.count < end and position + run.count not in chain:
                    run.count += 1
                self._point_index_at(run)
            position += run.count
            yield run

    def _forget(self, run: Run, count: int) -> None:
        """Drop the content of the `count` blocks that followed `run`; the oldest spare takes over."""
        chain = self._index[run.stream]
        end = run.first + run.count
        for position in range(end, end + count):
            spares = self._spares.get((run.stream, position))
            if chain[position] is not run and spares is not None:
                del spares[run]
            elif spares is not None:
                chain[position] = spares.popitem(last=False)[0]
            else:
                del chain[position]
            if spares is not None and not spares:
                del self._spares[run.stream, position]
        if not chain:
            del self._index[run.stream]

    def _free_anonymous(self, count: int) -> None:
        if not count:
            return
        tail = self._tail
        if tail.stream is not None or not tail.count:
            tail = self._tail = Run(None, 0, 0)
            self._free[tail] = None
        tail.count += count
        self.free_blocks += count

    def _free_named(self, table: BlockTable) -> None:
        for run, count in reversed(table.named):
            for piece in reversed(run.pieces(count)):
                self._let_go(piece)
        table.named = []
        table.named_blocks = 0

    def _let_go(self, run: Run) -> None:
        run.holders -= 1
        if not run.holders:
            run.rest = None
            self._free[run] = None
            self._tail = run
            self.free_blocks += run.count
