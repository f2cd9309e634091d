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
        self.admitted_empty = False
        self.shown_past = 0
        self.scheduled = self.first_token = self.last_token = self.completed = self.last_step = None
        self.preemptions = 0
        self.cached = 0
        self.state = "not_arrived"

    def content(self, position, block_tokens):
        """Name the tokens from the beginning to the end of block `position` by the last of them."""
        last = (position + 1) * block_tokens
        shared = self.request.prefix_group is not None
        if self.request.session is not None:
            begins = shared and last <= self.request.prefix_tokens
            return ("group", self.request.prefix_group, last) if begins else ("session", self.request.session, last)
        if shared and self.request.outer_group is not None and last <= self.request.outer_tokens:
            return ("outer", self.request.outer_group, last)
        if shared and last <= self.request.prefix_tokens:
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


def serve(requests, options, price, concurrency=None):
    """Run everything; return `{"requests": {id: ...}, "steps": [...], "totals": {...}, "gaps": [...]}`."""
    server = Server(requests, options, price, concurrency)
    server.run()
    return {
        "requests": {job.request.id: outcome(job) for job in server.jobs},
        "steps": server.steps,
        "totals": server.totals,
        "gaps": sorted(server.gaps),
    }


class Server:
    """One run; every list is looked through again in every step."""

    def __init__(self, requests, options, price, concurrency):
        self.options = options
        self.price = price
        self.cache = Cache(options)
        self.jobs = [Job(request, order) for order, request in enumerate(requests)]
        clients = len(self.jobs) if concurrency is None else concurrency
        first = [job for job in self.jobs if self.turn_before(job) is None]
        self.coming, self.unreleased = first[:clients], first[clients:]
        if concurrency is not None:
            for job in self.coming:
                job.arrival = 0
        self.closed = concurrency is not None
        self.running, self.waiting, self.steps, self.gaps = [], [], [], []
        self.totals = {"cached_tokens": 0, "preemptions": 0, "kv_block_hits": 0, "peak_kv_blocks": 0, "end_us": 0}

    def run(self):
        now, horizon = 0, self.options.horizon_us
        while horizon is None or now <= horizon:
            self.enqueue(now)
            if self.running or self.waiting:
                now = self.step(now)
            elif self.coming:
                now = max(now, min(job.entered() for job in self.coming))
            else:
                break
        if horizon is not None:
            self.enqueue(horizon)
        for job in self.running:
            job.state = "running"
        for job in self.waiting + [job for job in self.coming if horizon is None or job.arrival <= horizon]:
            job.state = "queued"

    def turn_before(self, job):
        earlier = [other for other in self.jobs[: job.order] if other.request.session == job.request.session]
        return earlier[-1] if earlier and job.request.session is not None else None

    def let_next_come(self, done, time):
        for job in self.jobs:
            if self.turn_before(job) is done:
                job.arrival = time + job.request.think_us
                self.coming.append(job)
                return
        if self.unreleased and self.closed:
            job = self.unreleased.pop(0)
            job.arrival = time
            self.coming.append(job)

    def enqueue(self, time):
        while due := [job for job in self.coming if job.entered() <= time]:
            job = min(due, key=lambda job: (job.entered(), job.arrival, job.order))
            self.coming.remove(job)
            if -(-(job.prompt + job.output - 1) // self.options.block_tokens) > self.cache.total:
                job.state = "dropped_unservable"
                self.let_next_come(job, job.entered())
            else:
                self.waiting.append(job)

    def step(self, now):
        """Take one step that starts at `now`; return when the server looks at its queue again."""
        order_waiting(self.waiting, self.options.scheduler)
        preempted = self.continue_running()
        if not preempted:
            self.admit(now)
        batch = [job for job in self.running if job.new or job.admitted_empty]
        end = now + self.execute(now, batch)
        self.totals["preemptions"] += preempted
        for job in batch:
            job.computed += job.new
            if job.computed >= job.to_prefill:
                job.generated += 1
                if job.first_token is None:
                    job.first_token = end
                else:
                    self.gaps.append(end - job.last_token)
                job.last_token = end
        for job in [job for job in batch if job.generated == job.output]:
            self.running.remove(job)
            self.cache.release(job)
            job.state, job.completed, job.last_step = "completed", end, end - now
            self.let_next_come(job, end)
        idle = not self.running and not self.waiting
        return now if idle and self.options.idle_until == "step_start" else end

    def continue_running(self):
        """Give the running jobs their tokens, in order; return the number of preemptions."""
        for job in self.running:
            job.new, job.admitted_empty = 0, False
        self.budget, preempted, index = self.options.token_budget, 0, 0
        while index < len(self.running) and self.budget > 0:
            job = self.running[index]
            wanted = demand(job, self.options, self.budget)
            while self.cache.missing(job, job.computed + wanted) > len(self.cache.free) and job in self.running:
                self.preempt(self.running.pop())
                preempted += 1
            if job in self.running:
                self.schedule(job, wanted)
                job.shown_past = job.computed
            index += 1
        return preempted

    def preempt(self, job):
        self.cache.release(job)
        job.preemptions += 1
        job.to_prefill = job.prompt + job.generated
        job.computed = job.new = 0
        self.waiting.insert(0, job)

    def admit(self, now):
        while self.waiting and self.budget > 0 and len(self.running) < self.options.max_running:
            job = self.waiting[0]
            need_last = self.options.full_prefix_hit == "recompute_last_block"
            found = self.cache.find(job, (job.to_prefill - need_last) // self.cache.block_tokens)
            cached = len(found) * self.cache.block_tokens
            job.computed = cached
            wanted = demand(job, self.options, self.budget) if cached < job.to_prefill else 0
            still_free = len(self.cache.free) - sum(block.holders == 0 for block in found)
            if -(-(cached + wanted) // self.cache.block_tokens) - len(found) > still_free:
                job.computed = 0
                return
            self.running.append(self.waiting.pop(0))
            for block in found:
                self.cache.hold(job, block)
            self.schedule(job, wanted)
            job.admitted_empty = wanted == 0
            job.shown_past = cached if self.options.cached_prefix_context == "counted" else 0
            job.scheduled, job.cached = now, cached
            self.totals["kv_block_hits"] += len(found)
            self.totals["cached_tokens"] += cached

    def schedule(self, job, wanted):
        for _ in range(self.cache.missing(job, job.computed + wanted)):
            self.cache.take(job)
        if self.cache.caching:
            self.cache.name_full(job, job.computed + wanted)
        job.new = wanted
        self.budget -= wanted

    def execute(self, now, batch):
        """Price the batch and write the step down; return its duration."""
        prefill = [job for job in batch if job.computed < job.to_prefill or job.admitted_empty]
        decode = [job for job in batch if job not in prefill]
        duration = self.price([(job.shown_past, job.new) for job in prefill], [job.computed for job in decode])
        used = self.cache.total - len(self.cache.free)
        self.steps.append(
            {
                "start_us": now,
                "duration_us": duration,
                "prefill": tuple((job.request.id, job.shown_past, job.new) for job in prefill),
                "decode": tuple((job.request.id, job.computed) for job in decode),
                "waiting": len(self.waiting),
                "kv_blocks_used": used,
            }
        )
        self.totals["peak_kv_blocks"] = max(self.totals["peak_kv_blocks"], used)
        self.totals["end_us"] = max(self.totals["end_us"], now + duration)
        return duration


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
