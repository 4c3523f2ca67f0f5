"""What people told us, and whether we may write to them.

People tell a company which marketing they want on each channel: by a link in a mail, a
mailbox's one-click button, a STOP reply, a switch in an app, a call to support. This
package hears them, remembers it with proof, and answers every sender's question, may I
send this message to this address, with the reason. It promises:

1. A no is never lost. An answer of 200 means committed and durable.
2. A no holds at once: on every worker, door and file, for every check that starts after it.
3. Doubt goes to the person. If the state cannot be known, marketing is held, and only
   one function in the code can say "allowed" for marketing: ``policy.may_send``.
4. Transactional always passes, whatever the state, the load or the fault.
5. A sender's word never lifts a person's no. Imports and API calls can only make things
   stricter, unless they carry the person's own later act.
6. Everything can be explained: which rule, which event, who said it, when, through which
   door, with what wording in front of them.

Imports go one way. From the ground up: ``address`` (a spelling becomes an address), ``policy``
(the two pure functions), ``settings``, ``links``, ``tables``, ``database`` and ``serve`` (the
supervisor), ``directory`` (tenants and what they own), ``installation`` (all of it, opened),
``ledger`` (the only reader and writer of consent), ``check`` (asking), ``rights``, ``devices``,
``letters`` (double opt-in), ``sheets`` and ``demo``, and then the doors: ``web`` and ``cli``.
"""
