"""Where a credential goes: IKE daemons, directories, commands. Each consumer confirms, or it is an error.

A target is one consumer of one identity. :func:`agent.deploy.target.open_target` makes it from its settings; the worker
(``agent.worker.deployment``) decides which generation goes there and what happens when it is refused.
"""
