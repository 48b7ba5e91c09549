"""What the words in names of tools mean: verbs that write, verbs that read, and words that look like either.

Data alone; `classify.py` says how it is used. Whoever adds a word thinks of both ways to be wrong: a write taken for a
read reaches a real server, a read taken for a write is answered by the overlay. Only the first does harm, so a word
that can be either is a write.
"""

from __future__ import annotations

from typing import Final

from belljar.faker.calls import Risk

__all__ = [
    "ALSO_THINGS",
    "COMPOUNDS",
    "CONNECTIVES",
    "DOUBTFUL_READS",
    "HARMLESS_OBJECTS",
    "NOUN_MAKERS",
    "NOUN_TOO",
    "PLAIN_VERBS",
    "READS",
    "READ_NOUNS",
    "RISKS",
    "STILL_ACTS",
    "THINGS_READ",
    "TWO_WORDS",
    "WRITES",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_HIGH = _words(
    """
    write overwrite delete del drop exec execute eval evaluate run invoke call send pay destroy remove rm rmdir erase
    purge truncate wipe kill terminate transfer charge refund capture purchase buy sell order withdraw payout deploy
    force uninstall shutdown reboot revoke grant publish merge push email sms dial flush rollback restore reset clear
    unlink ban fire trade swap wire disburse nuke
    """
)
_MEDIUM = _words(
    """
    edit create move update modify rename patch change mv put set insert upsert alter replace mkdir upload add append
    copy cp migrate import sync apply configure install upgrade fork commit rebase cherry transition reassign
    """
)
_LOW = _words(
    """
    abort accept access acknowledge ack activate adjust advance allocate allow amend annotate answer approve archive
    assign associate attach authenticate authorize backup begin bind block blur book bookmark boot boost branch
    broadcast build bump bundle cache cancel cast change chat check-in checkin checkout chmod chown claim clean
    cleanup click clone close collapse collect combine comment compact complete compose compress confirm connect
    continue convert cordon crawl credit crop cut deactivate deallocate debit debug decline decrement decrypt dedupe
    defer demote deny deprecate deprovision deregister detach dial disable disassociate discard disconnect dismiss
    dispatch dispute distribute do download downgrade draft drag drain draw duplicate edit eject elevate emit enable
    encrypt end engage enqueue enroll enter escalate exchange exclude expand expire export extend extract file fill
    finalize finish fix flag focus follow format forward free freeze fulfill generate give go goto handle hide hold
    hover ignore impersonate incr increment index inject initialize init initiate interact interrupt invite
    invalidate issue join label launch leave lend lift like link load lock login logout log mail make manage map
    mark mention message minimize mint mirror mock mount mute navigate nominate notify obtain onboard open optimize
    organize override pack page park partition paste pause perform persist pick pin place play point populate post
    predict prepare press print process produce proceed promote prompt propose provision prune pull queue quarantine
    quit react reactivate rebuild recalculate recommend reconnect record recover redeem redo redeploy reduce refine
    refresh refuse regenerate register reinstall reject release relink reload relocate remember remind remount renew
    reopen reorder repair repeat reply report reprocess request requeue reschedule reserve resize resolve respond
    restart resubmit resume retire retry return reverse revert review rewind rewrite rollout rotate route save scale
    schedule score scroll seal seed select sign simulate skip sleep snooze solve spawn split squash stage star start
    stash stop store stream submit subscribe suspend switch tag take tap target toggle touch track train transcode
    transform translate trigger turn type unarchive unassign unban unblock unbind unbookmark uncordon undelete undo
    unfollow unfreeze unhide unlabel unlike unload unlock unmark unmerge unmount unmute unpack unpause unpin
    unpublish unregister unresolve unschedule unset unshare unstage unstar unsubscribe unsuspend untag unwatch unzip
    upvote downvote use vacuum vote wake walk warm watch withdraw work wrap zip share shift step tweet retweet toot
    say speak tell throttle trash trim tune void widen write_back yank lpush rpush sadd srem hset hdel zadd zrem
    xadd mset getset getdel getex lpop rpop spop pop forget learn observe ingest embed reindex vectorize remediate
    mitigate patchset plan reconcile rehydrate hydrate recreate reimport reupload deposit settle authorise finalise
    initialise synchronise synchronize organise optimise customise customize bill invoice quote hire pledge donate
    tip stake unstake bridge airdrop burn verify

    """
)
RISKS: Final[dict[str, Risk]] = {
    **dict.fromkeys(_LOW, "low"),
    **dict.fromkeys(_MEDIUM, "medium"),
    **dict.fromkeys(_HIGH, "high"),
}
"""Every verb that writes, with its risk."""
WRITES: Final = frozenset(RISKS)

READS: Final = _words(
    """
    get list read fetch search find show view describe retrieve query lookup look count exists exist has is are can
    whoami ping head tail grep cat ls dir stat inspect examine browse peek enumerate discover explore display check
    see preview compare diff validate summarize aggregate calculate compute explain analyze analyse scan lint
    parse filter hget hgetall hmget lrange smembers zrange mget ttl pwd which where who what locate detect identify
    probe screenshot snapshot wait tree glob poll echo scrape geocode

    """
)
"""Verbs that read when a name begins with them."""

DOUBTFUL_READS: Final = _words(
    "query check validate analyze analyse explain scan wait detect fetch calculate compute aggregate"
)
"""Reads that a description may turn into a write by any verb in it, not by its first alone."""

NOUN_TOO: Final = _words(
    """
    access archive backup block book bookmark branch build bundle cache chat comment commit credit debit deploy
    dispute draft email event export file filter flag fork format group import index invite invoice issue job label
    like link log mail map mention merge message mirror order page partition patch pin plan play point prompt queue
    quote record release report request review route run schedule score seed share sign stage star step store stream
    submit target tag task trade transfer update upload vote work sms snapshot change copy move set trash wire bill
    view screen watch

    """
)
"""Verbs that are names of things as well: `branch_list` lists branches, `list_commit` is a list of them."""

THINGS_READ: Final = _words(
    "post reply process claim answer exchange type load track switch place train crawl extract launch mount hold return"
)
"""Verbs that a plain `get` in front makes things of: `get_post`, `get_content_type`. Elsewhere they stay verbs."""

PLAIN_VERBS: Final = _words(
    """
    write overwrite delete remove create replace insert edit modify append destroy exec execute upsert send save
    rename purge add erase truncate drop update store_in upload
    """
)
"""Verbs that stay verbs right behind another one: `read_write_file`, `search_replace`."""

NOUN_MAKERS: Final = _words(
    """
    status state history log logs event events marker markers schema options form template templates count stats
    policy policies request requests permission permissions time date url link preview result results progress token
    tokens ons queue queues operation operations job jobs task tasks id ids info details protection rules rule
    config types type

    """
)
"""What makes a noun of the verb before it: `get_update_status`, `list_delete_markers`."""

ALSO_THINGS: Final = _words(
    """
    list search query view filter snapshot tree poll scan check count screenshot show display diff lookup stat echo find
    """
)
"""Verbs that read and are names of things too: `snapshot_restore`, `poll_close`, `list_item_add`."""

STILL_ACTS: Final = _words(
    "run call put set mark move copy submit transfer vote share export import upload update archive"
)
"""Of `NOUN_TOO`, those that behind such a thing are what is done with it: `query_run`."""

CONNECTIVES: Final = _words("and or then also plus n")

COMPOUNDS: Final = frozenset(
    tuple(pair.split("-"))
    for pair in """
    pull-request pull-requests merge-request merge-requests change-request change-requests review-request
    review-requests work-item work-items work-log work-logs check-run check-runs check-suite check-suites test-run
    test-runs workflow-run workflow-runs log-group log-groups log-stream log-streams log-entry log-entries
    load-balancer load-balancers play-list change-log change-set change-sets release-note release-notes label-set
    access-key access-keys access-token access-tokens access-log access-logs call-graph call-hierarchy call-log
    call-logs code-review build-log build-logs run-log run-logs index-pattern index-patterns file-system draft-list
    open-orders open-issues open-positions open-files open-tabs stock-split share-link

    """.split()
)
"""Two words that name a thing although the first is a verb."""

TWO_WORDS: Final = frozenset(
    tuple(pair.split("-"))
    for pair in """
    git-fetch check-in check-out check-off look-after read-write read-ack mark-read mark-unread view-once
    list-item-product log-in log-out sign-in sign-out sign-up count-down count-up head-commit wait-list scan-in
    scan-out explain-analyze explain-analyse find-one_and fetch-add fetch-sub fetch-and get-or compare-exchange
    compare-swap test-set

    """.split()
)
"""Two words that are a write although the first one reads."""

READ_NOUNS: Final = _words(
    """
    status stats statistics info information history log logs diff version health help usage metrics summary
    overview changelog blame reflog schema docs documentation weather forecast top contents replies details balance
    count capabilities ping directions indexes size unreads

    """
)
"""A name that ends with one of these, and holds no verb at all, asks for it."""

HARMLESS_OBJECTS: Final = {
    "resolve": _words(
        "library id ids name names url uri path dns host hostname address symbol symbols reference domain"
    ),
    "convert": _words("time timezone currency currencies unit units temperature date timestamp"),
    "open": _words("node nodes"),
    "translate": _words("text"),
    "verify": _words(
        "signature signatures token hash checksum checksums integrity certificate proof syntax schema jwt"
    ),
    "take": _words("screenshot snapshot"),
    "capture": _words("screenshot snapshot"),
}
"""Verbs that write in general, with the objects they only read."""
