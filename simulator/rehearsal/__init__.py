"""Rehearsals: phone calls played from a YAML script, and judged by what the platform says and what the ear hears.

A script (`python -m simulator scenario FILE…`):

    title: The caller interrupts the menu
    agent: bella                      # a name of agents.yaml; left out: the default agent
    turns: {barge_in: {min_words: 3}} # left out, or settings published on call.<id>.turns as soon as the call stands
    steps:
      - hear_greeting
      - say: what is on your menu
      - say: no wait where are you located
        over_reply_ms: 2000
      - expect: {said: no wait where are you located, heard: {starts: We have}, interrupted: true, stops_within_ms: 600}
      - expect: {heard: "You find us at number twelve Harbour Street.", within_ms: 1500}
      - hang_up

Each step is one action of the caller, or one `expect`. Actions:

    say: TEXT                         or [TEXT, 800, TEXT]: numbers are pauses in ms within the sentence
    cough: {ms: 300, seed: 1}         throat: {ms: 450}, hum: {ms: 500}, noise: {ms: 500, seed: 1}
    hold_music: {s: 6}
    press: "1234#"                    keys, 200 ms apart
    silence: {s: 3}                   says nothing for so long
    echo: {delay_ms: 150, gain_db: -12, noise_db: -60}   from now on the phone returns what it plays, with the
                                      room's noise if `noise_db` is given; `echo: off` ends that
    turns: {endpointing_ms: 900}      from now on the agent takes turns so
    hear_greeting                     listens until the agent's first words end
    hang_up

    over_reply_ms: T                  with any of them: begin when the current reply has been audible for T ms
    at_once: true                     with `say`: do not wait until the agent is quiet

`say` without `over_reply_ms` and `at_once` waits for the reply to what was said before, and for its end; every other
action begins at once. Words that YAML takes for something else want quotes: "no", "yes", "1234".

`expect` judges what came since the last action began, after whatever it had waited for: several of them, the agent's
replies one after the other. All its keys must hold:

    said: TEXT | [TEXT, …]            what the agent understood (`transcript.caller`), or any of these
    heard: TEXT | {starts: TEXT} | {contains: TEXT}   the words of the agent's next reply (`transcript.agent`)
    within_ms: N, after_ms: N         by ear: the caller's last sound → first audible sample of that reply
    interrupted: true | false         as the platform says and as the ear hears it
    stops_within_ms: N                the caller's `min_speech_ms`-th ms of voice → the carrier's buffer is cleared
    resumes: true                     the carrier was cleared, and the reply went on at that word to its end
    silent: true                      nothing was heard of the agent since the last action began
    ended: agent_hung_up              the call is over, for this reason of `event.ended`
    wait_s: 20                        how long to wait for all that

Whatever is expected of a reply, the words that the platform says were heard must be those that the carrier played, to
the word; and when some replies since an action are expected, there must be no others.
"""
