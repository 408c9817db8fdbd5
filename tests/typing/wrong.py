"""Code that a type checker has to refuse, each line for the reason in its comment. Checked, never run."""

import plait

lock = plait.Lock()
lock.acquire(timeout="1")  # E: arg-type
plait.Semaphore("3")  # E: arg-type
plait.Event().wait("soon")  # E: arg-type
plait.Barrier()  # E: call-arg
numbers: plait.Queue[int] = plait.Queue()
numbers.put("text")  # E: arg-type
text: str = numbers.get()  # E: assignment
pool = plait.ThreadPoolExecutor(max_workers="2")  # E: arg-type
count: str = pool.submit(len, "abc").result()  # E: assignment
lock.nonsense()  # E: attr-defined
plait.install(True)  # E: call-arg
