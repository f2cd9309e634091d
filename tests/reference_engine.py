"""A second serving engine, as plain as possible, to judge the fast one.

It looks at every request in every step, keeps every KV block as an object of its own, and shares no
code with the package: it takes request and option objects by attribute name and returns plain
dictionaries. Slow on purpose; nothing here is clever.

`serve(requests, options, price, concurrency)` calls `price(prefill, decode)` once per step, with
`prefill` a list of `(past_tokens, new_tokens)` and `decode` a list of past tokens in batch order.
"""

from __future__ import annotations


class Block:
    """One KV block: who holds it, and which content it carries (None: none that can be found)."""

    def __init__(self):
        self.holders = 0
        self.content = None


class Cache:
    """Single blocks in a list of free ones; contents are found by looking through all blocks."""

    def __init__(self, options):
        self.block_tokens = options.block_tokens
        self.caching = options.prefix_caching
        self.free = [Block() for _ in range(options.kv_blocks)]
        self.total = options.kv_blocks
        # content -> blocks that carry it, oldest first
        self.known = {}

    def find(self, job, limit):
        """Return the blocks of the longest known beginning of `job`, at most `limit`."""
        found = []
        while self.caching and len(found) < limit:
            copies = self.known.get(job.content(len(found), self.block_tokens))
            if not copies:
                break
            found.append(copies[0])
        return found

    def hold(self, job, block):
        if block.holders == 0:
            self.free.remove(block)
        block.holders += 1
        job.blocks.append(block)

    def take(self, job):
        block = self.free.pop(0)
        if block.content is not None:
            self.known[block.content].remove(block)
            block.content = None
        block.holders = 1
        job.blocks.append(block)

    def name_full(self, job, tokens):
        """Give every block that `tokens` tokens fill its content."""
        for position in range(tokens // self.block_tokens):
            block = job.blocks[position]
            if block.content is None:
                block.content = job.content(position, self.block_tokens)
                self.known.setdefault(block.content, []).append(block)

    def missing(self, job, tokens):
        return -(-tokens // self.block_tokens) - len(job.blocks)

    def release(self, job):
        for block in reversed(job.blocks):
            block.holders -= 1
            if block.holders == 0:
                self.free.append(block)
        job.blocks = []


class Job:
    """One request on its way through the server."""

    def __init__(self, request, order):
        self.request = request
        self.order = order
        self.arrival = request.arrival_us
        self.prompt = request.prompt_tokens
        self.output = max(1, request.output_tokens)
        self.generated = 0
        self.computed = 0
        self.to_prefill = self.prompt
        self.blocks = []
        self.new = 0
        self.shown_past = 0
        self.scheduled = self.first_token = self.completed = self.last_step = None
        self.preemptions = 0
        self.cached = 0
        self.state = "not_arrived"

    def content(self, position, block_tokens):
        """Name the tokens from the beginning to the end of block `position` by the last of them."""
        last = (position + 1) * block_tokens
        if self.request.prefix_group is not None and last <= self.request.prefix_tokens:
            return ("group", self.request.prefix_group, last)
        return ("request", self.request.id, last)

    def entered(self):
        return self.arrival + self.request.queueing_delay_us


def order_waiting(waiting, scheduler):
    if scheduler == "shortest_job":
        waiting.sort(key=lambda job: (job.prompt, job.arrival, job.request.id))
    if scheduler == "priority":
        waiting.sort(key=lambda job: (-job.request.priority, job.arrival, job.request.id))


def demand(job, options, budget):
    if job.computed >= job.to_prefill:
        return 1
    wanted = job.to_prefill - job.computed
    if options.long_prefill_threshold_tokens:
        wanted = min(wanted, options.long_prefill_threshold_tokens)
    return min(wanted, budget)


def form_step(now, running, waiting, cache, options):
    """Set `new` of every running job (0: not in this step); admit; return the number of preemptions and hits."""
    for job in running:
        job.new = 0
    budget, preempted, hits = options.token_budget, 0, 0
    index = 0
    while index < len(running) and budget > 0:
        job = running[index]
        wanted = demand(job, options, budget)
        while cache.missing(job, job.computed + wanted) > len(cache.free) and job in running:
            victim = running.pop()
            preempted += 1
            cache.release(victim)
            victim.preemptions += 1
            victim.to_prefill = victim.prompt + victim.generated
            victim.computed = 0
            victim.new = 0
            waiting.insert(0, victim)
        if job not in running:
            break
        schedule(job, wanted, cache)
        job.shown_past = job.computed
        budget -= wanted
        index += 1
    while not preempted and waiting and budget > 0 and len(running) < options.max_running:
        job = waiting[0]
        need_last = options.full_prefix_hit == "recompute_last_block"
        found = cache.find(job, (job.to_prefill - need_last) // cache.block_tokens)
        cached = len(found) * cache.block_tokens
        job.computed = cached
        wanted = demand(job, options, budget) if cached < job.to_prefill else 0
        still_free = len(cache.free) - sum(block.holders == 0 for block in found)
        if -(-(cached + wanted) // cache.block_tokens) - len(found) > still_free:
            job.computed = 0
            break
        waiting.pop(0)
        for block in found:
            cache.hold(job, block)
        schedule(job, wanted, cache)
        job.admitted_empty = wanted == 0
        job.shown_past = cached if options.cached_prefix_context == "counted" else 0
        job.scheduled = now
        job.cached = cached
        hits += len(found)
        running.append(job)
        budget -= wanted
    return preempted, hits


def schedule(job, wanted, cache):
    for _ in range(cache.missing(job, job.computed + wanted)):
        cache.take(job)
    if cache.caching:
        cache.name_full(job, job.computed + wanted)
    job.new = wanted
    job.admitted_empty = False


def serve(requests, options, price, concurrency=None):
    """Run everything; return `{"requests": {id: ...}, "steps": [...], "totals": {...}}`."""
    jobs = [Job(request, order) for order, request in enumerate(requests)]
    unreleased = []
    if concurrency is not None:
        unreleased = jobs[concurrency:]
        for job in jobs[:concurrency]:
            job.arrival = 0
    coming = [job for job in jobs if job not in unreleased]
    cache = Cache(options)
    running, waiting, steps = [], [], []
    totals = {"cached_tokens": 0, "preemptions": 0, "kv_block_hits": 0, "peak_kv_blocks": 0, "end_us": 0}
    horizon = options.horizon_us if options.horizon_us is not None else float("inf")

    def let_next_come(time):
        if unreleased:
            job = unreleased.pop(0)
            job.arrival = time
            coming.append(job)

    def enqueue(time):
        while True:
            due = [job for job in coming if job.entered() <= time]
            if not due:
                return
            job = min(due, key=lambda job: (job.entered(), job.arrival, job.order))
            coming.remove(job)
            if -(-(job.prompt + job.output - 1) // options.block_tokens) > cache.total:
                job.state = "dropped_unservable"
                let_next_come(job.entered())
            else:
                waiting.append(job)

    now = 0
    while now <= horizon:
        enqueue(now)
        if not running and not waiting:
            if not coming:
                break
            now = max(now, min(job.entered() for job in coming))
            continue
        order_waiting(waiting, options.scheduler)
        preempted, hits = form_step(now, running, waiting, cache, options)
        in_step = [job for job in running if job.new or job.admitted_empty]
        prefill = [job for job in in_step if job.computed < job.to_prefill or job.admitted_empty]
        decode = [job for job in in_step if job not in prefill]
        duration = price([(job.shown_past, job.new) for job in prefill], [job.computed for job in decode])
        used = cache.total - len(cache.free)
        steps.append(
            {
                "start_us": now,
                "duration_us": duration,
                "prefill": tuple((job.request.id, job.shown_past, job.new) for job in prefill),
                "decode": tuple((job.request.id, job.computed) for job in decode),
                "waiting": len(waiting),
                "kv_blocks_used": used,
            }
        )
        end = now + duration
        totals["preemptions"] += preempted
        totals["kv_block_hits"] += hits
        totals["cached_tokens"] += hits * options.block_tokens
        totals["peak_kv_blocks"] = max(totals["peak_kv_blocks"], used)
        totals["end_us"] = max(totals["end_us"], end)
        for job in in_step:
            job.computed += job.new
            job.admitted_empty = False
            if job.computed >= job.to_prefill:
                job.generated += 1
                if job.first_token is None:
                    job.first_token = end
        for job in [job for job in in_step if job.generated == job.output]:
            running.remove(job)
            cache.release(job)
            job.state, job.completed, job.last_step = "completed", end, duration
            let_next_come(end)
        idle = not running and not waiting
        now = now if idle and options.idle_until == "step_start" else end
    if options.horizon_us is not None:
        enqueue(horizon)
    for job in running:
        job.state = "running"
    for job in waiting:
        job.state = "queued"
    for job in coming:
        job.state = "queued" if job.arrival <= horizon else "not_arrived"
    return {"requests": {job.request.id: outcome(job) for job in jobs}, "steps": steps, "totals": totals}


def outcome(job):
    return {
        "arrival_us": job.arrival,
        "state": job.state,
        "scheduled_us": job.scheduled,
        "first_token_us": job.first_token,
        "completed_us": job.completed,
        "last_step_us": job.last_step,
        "preemptions": job.preemptions,
        "cached_tokens": job.cached,
    }
