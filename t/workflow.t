#!/usr/bin/env perl

# Why: the workflow decides who gets in.  Here admin/workflow.lua runs in a
# real Redis, without nginx, and is held against a table of its own of who may
# do what in which state; every refusal must leave every key as it was.

use strict;
use warnings;

use Digest::SHA qw(sha1_hex);
use JSON::PP ();

use Test::Lockbox;
use Test::Lockbox::Workflow;

# What must come of it: actions, actors, and the result while the request is
# awaiting_manager, awaiting_customer, has a question of the manager's or of the
# customer's stage, is approved, or over in whatever way.  Whoever is not named,
# and not blind, has no part in the action.
my @COLUMNS = ('awaiting_manager', 'awaiting_customer',
               'needs_info of the manager', 'needs_info of the customer',
               'approved', 'over');

my @EXPECTED = (
    [ 'approve ask', 'manager third-manager decided-namesake',
      'ok conflict conflict conflict conflict conflict' ],
    [ 'deny', 'manager third-manager decided-namesake',
      'ok conflict ok conflict conflict conflict' ],
    [ 'approve ask', 'manager-decided',
      'same_person conflict conflict conflict conflict conflict' ],
    [ 'deny', 'manager-decided',
      'same_person conflict same_person conflict conflict conflict' ],
    [ 'approve ask', 'customer second-customer',
      'conflict ok conflict conflict conflict conflict' ],
    [ 'deny', 'customer second-customer',
      'conflict ok conflict ok conflict conflict' ],
    [ 'approve ask', 'decided-customer',
      'conflict same_person conflict conflict conflict conflict' ],
    [ 'deny', 'decided-customer',
      'conflict same_person conflict same_person conflict conflict' ],
    [ 'approve ask', 'decided-as-both',
      'same_person same_person conflict conflict conflict conflict' ],
    [ 'deny', 'decided-as-both',
      'same_person same_person same_person same_person conflict conflict' ],
    [ 'approve deny ask',
      'engineer-manager engineer-customer engineer-as-both',
      join ' ', ('own_request') x 6 ],
    [ 'answer', 'engineer engineer-manager engineer-customer',
      'conflict conflict ok ok conflict conflict' ],
    [ 'cancel', 'engineer engineer-manager engineer-customer',
      'ok ok ok ok conflict conflict' ],
    [ 'complete grant', 'engineer engineer-manager engineer-customer',
      'conflict conflict conflict conflict ok conflict' ],
    [ 'revoke', 'manager third-manager manager-decided decided-customer
                 decided-as-both decided-namesake customer second-customer
                 engineer-manager engineer-customer engineer-as-both',
      'conflict conflict conflict conflict ok conflict' ],
);

my %RULE;

for (@EXPECTED) {
    my ($actions, $actors, $results) = @$_;

    my %rule;

    @rule{@COLUMNS} = split ' ', $results;

    for my $action (split ' ', $actions) {
        $RULE{"$action $_"} = \%rule for split ' ', $actors;
    }
}

my @STEPS = qw(approve deny ask answer cancel complete revoke grant);

# What the state is after a step that was taken; one more manager and one more
# customer are enough.
my %AFTER = (
    'approve awaiting_manager'  => 'awaiting_customer',
    'approve awaiting_customer' => 'approved',
    'ask awaiting_manager'      => 'needs_info',
    'ask awaiting_customer'     => 'needs_info',
    'answer needs_info of the manager'  => 'awaiting_manager',
    'answer needs_info of the customer' => 'awaiting_customer',
    (map { ("deny $_" => 'denied', "cancel $_" => 'cancelled') }
         @COLUMNS[0 .. 3]),
    'complete approved'         => 'completed',
    'revoke approved'           => 'revoked',
    'grant approved'            => 'approved',
);


my $t = Test::Lockbox->new;

start($t);

matrix($_) for sort keys %STATE;
unknown_request();
filing();
whole_life();
manager_alone();
approvals_in_numbers();
too_few_managers();
so_many_at_a_time();
extensions();
questions();
the_whole_life_is_capped();
versions();
clocks();
windows();
ends_and_decisions();
sweeping();

done_testing();


# The matrix

sub matrix {
    my ($name) = @_;

    my $column = exists $RULE{'grant engineer'}{$name} ? $name : 'over';

    fresh($name);

    for my $action (@STEPS) {
        my (%got, %want);

        for my $who (sort keys %ACTOR) {
            my $rule = $RULE{"$action $who"};

            $got{$who} = outcome($name, $action, $who);
            $want{$who} = $BLIND{$who} ? 'not_found'
                        : $rule ? $rule->{$column} : 'forbidden_role';
        }

        is_deeply(\%got, \%want, "$name: $action");
    }

    my $before = dump_keys();
    my %shown = map { $_ => called('show', $_)->{result} } keys %ACTOR;
    my %filed = map { $_ => file($_)->{result} } keys %ACTOR;

    is_deeply(\%shown, { map { $_ => $BLIND{$_} ? 'not_found' : 'ok' }
                             keys %ACTOR }, "$name: show");
    is_deeply(\%filed, { may_file('conflict') },
              "$name: file with the same id");
    is(dump_keys(), $before, "$name: both change nothing");
}

# The result of a step, and behind it whatever is wrong with its answer or its
# effect.  The request is in the state again afterwards.
sub outcome {
    my ($name, $action, $who) = @_;

    my ($state) = $name =~ /^(\w+)/;
    my $after = $AFTER{"$action $name"};
    my $promised = grep { $_ eq $action } @{ called('show', $who)->{actions} };
    my $before = dump_keys();
    my $version = stored()->{version};

    my $reply = step($action, $who);
    my ($result, $fields) = @$reply{qw(result fields)};
    my $taken = $result eq 'ok';

    my @wrong = $taken
        ? taken_wrongly($reply, $after,
                        $version + ($action ne 'grant'))
        : refused_wrongly($reply, $before, $BLIND{$who} ? undef : $state);

    push @wrong, 'and "actions" says otherwise' if $promised != $taken;
    fresh($name) if $taken;

    return join ', ', $result, @wrong;
}

sub taken_wrongly {
    my ($reply, $state, $version) = @_;

    my $fields = $reply->{fields};

    return (
        $fields->{state} eq $state ? () : "but is $fields->{state}",
        $fields->{version} == $version ? () : "version $fields->{version}",
        $fields->{state} eq stored()->{state} ? () : 'but is not written',
    );
}

# The state is what the actor may know of it; undef: nothing.
sub refused_wrongly {
    my ($reply, $before, $state) = @_;

    my ($fields, $actions) = @$reply{qw(fields actions)};

    return (
        dump_keys() eq $before ? () : 'but something changed',
        ($fields->{state} // '') eq ($state // '') ? () : 'wrongly shown',
        $state || !(%$fields || @$actions) ? () : 'but something is shown',
    );
}

sub may_file {
    my ($result) = @_;

    return map {
        $_ => $ACTOR{$_}{roles}{engineer} ? $result : 'forbidden_role'
    } keys %ACTOR;
}

sub unknown_request {
    fresh('approved');

    my $id = $ID =~ s/1$/2/r;

    for my $args ({ id => $id }, { tenant => 'globex' }) {
        my %got;
        my $before = dump_keys();

        for my $action ('show', @STEPS) {
            for my $who (keys %ACTOR) {
                my $reply = $action eq 'show' ? called('show', $who, %$args)
                                              : step($action, $who, %$args);

                $got{$reply->{result} . keys(%{ $reply->{fields} })
                     . @{ $reply->{actions} }}++;
            }
        }

        is_deeply([ keys %got ], [ 'not_found00' ],
                  "nothing at another " . join ' ', keys %$args);
        is(dump_keys(), $before, '... and nothing changed');
    }
}

sub filing {
    flush();

    my %got = map { flush(); $_ => file($_)->{result} } keys %ACTOR;

    is_deeply(\%got, { may_file('ok') }, 'who may file');

    flush();
    file('manager');
    is(dump_keys(), '', 'a refused filing leaves nothing');

    file('engineer');
    my $reply = file('other-engineer');
    is($reply->{result}, 'conflict', 'an id is used once');
    is_deeply($reply->{fields}, {}, 'and tells nothing of the other request');
}


# The steps, one by one

sub whole_life {
    flush();

    my $before = now();
    my $reply = file('engineer');
    my $fields = $reply->{fields};

    is($reply->{result}, 'ok', 'filed');
    is_deeply($reply->{actions}, [ 'cancel' ], 'the engineer may cancel');
    cmp_ok($fields->{created_at}, '>=', $before, 'created now');
    cmp_ok($fields->{created_at}, '<=', now(), 'by Redis');
    is($fields->{answer_by}, $fields->{created_at} + $ANSWER_WITHIN,
       'the manager has the time given');

    is_deeply($fields, {
        id => $ID, tenant => 'acme', state => 'awaiting_manager', version => 1,
        engineer_iss => 'https://vendor.example', engineer_sub => 'eve',
        justification => 'The inbox does not open', ticket => 'SR-4711',
        reason => 'customer_initiated_support', duration => $DURATION,
        access => $ACCESS, decisions => 1,
        'decision:0' => decision('engineer', 'engineer', 'request'),
        created_at => $fields->{created_at},
        answer_by => $fields->{answer_by},
        lapses_at => $fields->{created_at} + $LAPSES_WITHIN,
        asked_by_stage => '',
    }, 'the request as it was filed');
    is_deeply(stored(), $fields, 'and as it is written');

    my $member = "acme:$ID";
    my $place = redis('ZSCORE', 'lockbox:requests', $member);
    my $engineer = 'lockbox:engineer:'
                   . sha1_hex("https://vendor.example\neve");

    is(int $place / 1000, $fields->{created_at}, 'its place is its time');

    my $are_in = sub {
        my ($state) = @_;

        is_deeply(indexes(), {
            (map { $_ => { $member => $place },
                   $state ? ("$_:$state" => { $member => $place }) : () }
                 'lockbox:requests', $engineer),
            (map { $_ => { $ID => $place } }
                 'lockbox:{acme}:requests',
                 $state ? "lockbox:{acme}:requests:$state" : ()),
            $state ? ('lockbox:deadlines' => { $member => deadline() }) : (),
            $state && $state ne 'approved'
                ? ('lockbox:{acme}:open:' . sha1_hex("https://vendor.example\neve")
                   => { $ID => deadline() }) : (),
        }, 'its places in the indexes');
    };

    $are_in->('awaiting_manager');
    is(deadline(), $fields->{answer_by}, 'the deadline is the manager\'s');

    $fields = did('approve', 'manager');
    $are_in->('awaiting_customer');
    is($fields->{state}, 'awaiting_customer', 'on to the customer');
    is(deadline(), $fields->{answer_by}, 'who has a deadline');
    cmp_ok($fields->{answer_by}, '>=', $before + $ANSWER_WITHIN, 'of his own');
    is(kept_until(), $fields->{answer_by} + $RETENTION,
       'the hash does not stay for ever');
    is(live_until(), undef, 'no live key yet');

    my $decided = now() - 1234;
    $fields = did('approve', 'customer', decided_at => $decided);
    my $end = (int($decided / 1000) + $DURATION) * 1000;

    is($fields->{state}, 'approved', 'approved');
    is($fields->{version}, 3, 'the third version');
    is($fields->{approved_at}, $decided, 'when it was decided');
    is($fields->{expires_at}, $end, 'from the second of the decision');
    is(live_until(), $end, 'the live key lives as long');
    is(redis('GET', live_key()), 'live', 'and says so');
    is(deadline(), $end, 'the deadline is the end of the window');
    is(kept_until(), $end + $RETENTION, 'and the hash stays on');
    $are_in->('approved');

    my $live = redis('DUMP', live_key());
    my $stored = stored();
    did('grant', 'engineer') for 1, 2;
    is_deeply(stored(), $stored, 'collecting changes nothing');
    is(redis('DUMP', live_key()), $live, 'nor the live key');
    is(live_until(), $end, 'nor its end');

    redis('DEL', live_key());
    did('grant', 'engineer');
    is(live_until(), undef, 'collecting revives no live key');
    redis('SET', live_key(), 'live');

    $before = now();
    $fields = did('complete', 'engineer');
    cmp_ok($fields->{ended_at}, '>=', $before, 'handed back now');
    is($fields->{version}, 4, 'the fourth version');
    $are_in->(undef);
    is(live_until(), undef, 'the live key is gone');
    is(deadline(), undef, 'no more deadline');
    is(kept_until(), $fields->{ended_at} + $RETENTION, 'history stays');

    my $vendor = 'https://vendor.example';
    is_deeply([ map { [ @$_{qw(event state version iss sub id)} ] } events() ],
              [ [ 'filed', 'awaiting_manager', 1, $vendor, 'eve', $ID ],
                [ 'approved', 'awaiting_customer', 2, $vendor, 'max', $ID ],
                [ 'approved', 'approved', 3, 'https://customers.example',
                  'cleo', $ID ],
                [ 'collected', 'approved', 3, $vendor, 'eve', $ID ],
                [ 'completed', 'completed', 4, $vendor, 'eve', $ID ] ],
              'every step is an event, and what is collected again is none');
    is((events())[-1]{at}, $fields->{ended_at}, 'with its time');
}

sub manager_alone {
    flush();
    file('engineer');

    my $fields = did('approve', 'manager',
                     required => { manager => 1, customer => 0 });

    is($fields->{state}, 'approved', 'where the manager alone decides');
    is(live_until(), $fields->{expires_at}, '... the window opens at once');
}

# Of managers more are needed than have approved.
sub too_few_managers {
    my %three = (required => { manager => 3, customer => 1 });

    fresh('awaiting_customer');
    my $before = dump_keys();

    is(step('approve', 'customer', %three)->{result}, 'conflict',
       'no window by fewer managers than are needed now');
    is_deeply(dump_keys(), $before, '... which changes nothing');
    is_deeply(step('show', 'customer', managers => 3)->{actions},
              [qw(deny ask)], '... and is not offered');
    is_deeply(step('show', 'customer', managers => 2)->{actions},
              [qw(approve deny ask)], '... where enough have approved it is');
    is(did('approve', 'customer',
           required => { manager => 2, customer => 1 })->{state}, 'approved',
       '... and opens');
}

sub approvals_in_numbers {
    my $two = { manager => 2, customer => 2 };

    flush();
    file('engineer');

    my $filed = stored();
    my $fields = did('approve', 'manager', required => $two, duration => 3600,
                     access => '[{"service":"calendar"}]');

    is($fields->{state}, 'awaiting_manager', 'one of two managers');
    is($fields->{version}, 2, 'is a version');
    is($fields->{answer_by}, $filed->{answer_by}, 'but no further delay');
    is($fields->{duration}, 3600, 'a shorter duration is kept');
    is($fields->{access}, '[{"service":"calendar"}]', 'narrowed access too');
    is(step('approve', 'manager', required => $two)->{result}, 'same_person',
       'one manager counts once');

    $fields = did('approve', 'third-manager', required => $two,
                  duration => 1800, access => '[]');
    is($fields->{state}, 'awaiting_customer', 'both managers');

    $fields = did('approve', 'customer', required => $two, duration => 900,
                  access => '[1]');
    is($fields->{state}, 'awaiting_customer', 'one of two customers');
    is(live_until(), undef, 'opens nothing');
    is(step('approve', 'customer', required => $two)->{result}, 'same_person',
       'one customer counts once');

    $fields = did('approve', 'second-customer', required => $two,
                  duration => 600, access => '[2]');
    is($fields->{state}, 'approved', 'both customers');
    is(stored()->{duration}, 600, 'the last duration counts');
    is(stored()->{access}, '[2]', 'the last access counts');
    is($fields->{expires_at},
       (int($fields->{approved_at} / 1000) + 600) * 1000, 'for the window');

    my @decisions = map { JSON::PP::decode_json($fields->{"decision:$_"}) }
                        0 .. $fields->{decisions} - 1;

    is_deeply([ map { "$_->{stage} $_->{by}{sub} $_->{decision}" }
                    @decisions ],
              [ 'engineer eve request', 'manager max approve',
                'manager mona approve', 'customer cleo approve',
                'customer cora approve' ], 'all decisions, in order');
}

# So many of one engineer may wait at one tenant; what they wait for is no
# matter, and what is past its time waits no more.
sub so_many_at_a_time {
    my $file = sub {
        my ($i, %args) = @_;

        return file('engineer', max_open => 2, request => { id => id($i) },
                    %args);
    };

    flush();
    is($file->($_)->{result}, 'ok', "$_ of two") for 1, 2;

    my $before = dump_keys();
    my $reply = $file->(3);

    is($reply->{result}, 'too_many_requests', 'the third of two (W25)');
    is_deeply([ @$reply{qw(fields actions)} ], [ {}, [] ], '... is nothing');
    is(dump_keys(), $before, '... and leaves nothing');
    is(file('engineer', max_open => 3, request => { id => id(3) })->{result},
       'ok', '... but the third of three');

    is(file('engineer', max_open => 2, request => {
           id => id(4), tenant => 'globex' })->{result}, 'ok',
       'another tenant is another matter');
    is(file('other-engineer', max_open => 2, request => { id => id(5) })
           ->{result}, 'ok', '... as is another engineer');

    # three wait: one for an answer, one for the customer, one is due
    did('ask', 'manager', id => id(1));
    did('approve', 'manager', id => id(2));
    is($file->(6)->{result}, 'too_many_requests',
       'all that are not approved wait');
    did('cancel', 'engineer', id => id(3));
    is($file->(6)->{result}, 'too_many_requests', '... one ended, two wait');
    did('approve', 'customer', id => id(2));

    my $ask = 'lockbox:{acme}:open:' . sha1_hex("https://vendor.example\neve");
    is_deeply(redis('ZRANGE', $ask, 0, -1), [ id(1) ], '... one approved');
    redis('ZADD', $ask, now() - 1, 'gone');
    is($file->(6)->{result}, 'ok', '... which makes room');
    is_deeply([ sort @{ redis('ZRANGE', $ask, 0, -1) } ], [ id(1), id(6) ],
              '... and what is past its time is gone');
}

# What goes on from another request begins at its end, and the approval says
# so; that end is looked at when the approval is written.
sub extensions {
    my $new = id(2);
    my %new = (id => $new);
    my $file = sub {
        return file($_[0] // 'engineer',
                    request => { id => $new, extends => $ID });
    };

    my %extended = (
        'approved' => 'ok', 'completed' => 'ok', 'expired, due' => 'ok',
        'expired, swept' => 'ok',
        map({ $_ => 'invalid_extends' } 'awaiting_manager',
            'awaiting_customer', 'needs_info of the manager', 'denied',
            'cancelled', 'revoked', 'lapsed, swept',
            'lapsed, due at the manager'),
    );

    for my $name (sort keys %extended) {
        fresh($name);
        my $before = dump_keys();

        is($file->()->{result}, $extended{$name}, "extending what is $name");
        is(dump_keys(), $before, '... changes nothing')
            if $extended{$name} ne 'ok';
    }

    fresh('approved');
    my $before = dump_keys();
    is($file->('other-engineer')->{result}, 'invalid_extends',
       'extending another\'s');
    is(file('engineer', request => { id => $new, tenant => 'globex',
                                     extends => $ID })->{result},
       'invalid_extends', 'extending another tenant\'s');
    is(file('engineer', request => { id => $new, extends => id(3) })
           ->{result}, 'invalid_extends', 'extending nothing');
    is(file('engineer', request => { id => $new, extends => $new })
           ->{result}, 'invalid_extends', 'extending itself');
    redis('HSET', request_key(), starts_at => now() + 60_000);
    is($file->()->{result}, 'invalid_extends', 'extending what has not begun');
    redis('HSET', request_key(), starts_at => stored()->{approved_at});

    # begins, and what comes of it; the other one is good, or not any more
    my $ends = stored()->{expires_at} / 1000;
    my @cases = (
        [ $ends, 1, 'ok' ], [ $ends - 1, 1, 'conflict' ],
        [ $ends + 1, 1, 'conflict' ], [ undef, 1, 'conflict' ],
        [ undef, 0, 'ok' ], [ $ends, 0, 'conflict' ],
    );

    for (@cases) {
        my ($begins, $live, $result) = @$_;

        fresh('approved');
        redis('HSET', request_key(), expires_at => $ends * 1000,
              approved_at => now());
        $file->();
        did('approve', 'manager', %new, begins => $ends);
        did('revoke', 'customer') if !$live;
        $before = dump_keys();

        my $reply = step('approve', 'customer', %new, begins => $begins);
        my $name = ($begins ? 'from ' . ($begins - $ends) : 'at once')
                   . ($live ? '' : ', for the other one is over');

        is($reply->{result}, $result, "an extension $name");

        if ($result ne 'ok') {
            is(dump_keys(), $before, '... changes nothing');
            next;
        }

        my $fields = $reply->{fields};
        my $starts = $begins ? $ends
                             : int($fields->{approved_at} / 1000);
        is($fields->{starts_at}, $starts * 1000, '... starts then');
        is($fields->{expires_at}, ($starts + $DURATION) * 1000,
           '... for its own time');
        is(redis('PEXPIRETIME', "lockbox:grant:{acme}:$new"),
           $fields->{expires_at}, '... which its live key has');
    }

    # approved so late that the other one is all but over: never before that
    fresh('approved');
    $file->();
    did('approve', 'manager', %new, begins => stored()->{expires_at} / 1000);
    my $soon = int(now() / 1000) + 2;
    redis('HSET', request_key(), expires_at => $soon * 1000);
    my $decided = now() + 4000;
    my $fields = did('approve', 'customer', %new, begins => $soon,
                     decided_at => $decided);
    is($fields->{starts_at}, int($decided / 1000) * 1000,
       'never before the approval');

    fresh('awaiting_customer');
    is(step('approve', 'customer', begins => int(now() / 1000) + 60)
           ->{result}, 'conflict', 'what extends nothing begins when approved');
}

# The clock of the stage that asks stands still, nobody's decision is counted,
# and everybody goes on from where the request was.
sub questions {
    my %stages = (
        manager => [ 'awaiting_manager', 'third-manager', 'approve' ],
        customer => [ 'awaiting_customer', 'customer', 'approve' ],
    );

    for my $stage (sort keys %stages) {
        my ($state, $asker) = @{ $stages{$stage} };

        fresh($state);
        my $before = stored();
        my $text = decision($asker, $stage, 'ask');
        my $asked = did('ask', $asker, decision => $text);

        is($asked->{state}, 'needs_info', "$stage asks");
        is($asked->{asked_by_stage}, $stage, '... by its name');
        is($asked->{answer_by}, $before->{lapses_at},
           '... and the engineer has as long as the request has');
        is(deadline(), $asked->{answer_by}, '... which is the deadline');
        is(kept_until(), $asked->{answer_by} + $RETENTION, '... and all');
        is($asked->{"decision:$before->{decisions}"}, $text,
           '... and it is recorded');
        ok(!redis('EXISTS', "lockbox:requests:$state"),
           '... and waits for nobody else');

        my $left = $asked->{remaining};
        cmp_ok($left, '<=', $ANSWER_WITHIN, 'some of its time is left');
        cmp_ok($left, '>', $ANSWER_WITHIN - 60_000, '... nearly all');

        # as if it had asked in the last second
        redis('HSET', request_key(), remaining => 1000);

        my $now = now();
        my $answered = did('answer', 'engineer',
                           decision => decision('engineer', 'engineer',
                                                'answer'));

        is($answered->{state}, $state, 'answered, it goes on');
        is($answered->{asked_by_stage}, '', '... and nobody asks');
        is($answered->{version}, $before->{version} + 2, '... two versions on');
        is(deadline(), $answered->{answer_by}, '... with the time');
        cmp_ok($answered->{answer_by}, '>=', $now + 1000, '... that was left');
        cmp_ok($answered->{answer_by}, '<=', now() + 1000, '... and no more');
        ok(redis('ZSCORE', "lockbox:requests:$state", "acme:$ID"),
           '... is waited for');
        is_deeply([ map { "$_->{event} $_->{state}" } (events())[-2, -1] ],
                  [ 'asked needs_info', "answered $state" ],
                  '... both are events');

        is(step('approve', $asker)->{result}, 'ok',
           'whoever has asked may approve');
    }

    # so often, and no more
    fresh('awaiting_customer');

    for (1 .. 8) {
        did('ask', 'customer');
        did('answer', 'engineer');
    }

    my $before = dump_keys();
    ok(!(grep { $_ eq 'ask' } @{ called('show', 'customer')->{actions} }),
       'a ninth question is not offered');
    is(step('ask', 'customer')->{result}, 'conflict', '... nor taken');
    is(dump_keys(), $before, '... and changes nothing');
    is(step('approve', 'customer')->{result}, 'ok', '... but an approval is');
}

# Neither stages nor questions make a request live longer than that.
sub the_whole_life_is_capped {
    flush();

    my $filed = file('engineer', lapses_within => 5_000_000)->{fields};
    my $cap = $filed->{created_at} + 5_000_000;

    is($filed->{answer_by}, $filed->{created_at} + $ANSWER_WITHIN,
       'a stage has its own time');
    is(did('approve', 'manager', answer_within => 10_000_000)->{answer_by},
       $cap, '... but no more than the request has');
    is(did('ask', 'customer')->{answer_by}, $cap, 'nor has the engineer');
    is(did('answer', 'engineer')->{answer_by}, $cap,
       'nor the stage that goes on');

    did('ask', 'customer');
    overdue();
    is(called('show', 'engineer')->{fields}{state}, 'lapsed',
       'it lapses with a question that is open');
    is_deeply([ @{ swept()->{fields} }{qw(ended_stage asked_by_stage)} ],
              [ 'customer', '' ], '... in the stage that has asked');

    for my $field (qw(lapses_at answer_by remaining)) {
        fresh('needs_info of the customer');
        redis('HDEL', request_key(), $field);
        step('answer', 'engineer');
        isnt(called('show', 'customer')->{fields}{state}, 'approved',
             "without $field");
        is(step('approve', 'customer')->{result}, 'conflict',
           '... it is over');
    }
}

sub versions {
    for my $action (qw(approve deny ask)) {
        fresh('awaiting_customer');
        my $before = dump_keys();

        for my $version (2, 4, 100) {
            my $reply = step($action, 'customer', version => $version);
            is($reply->{result}, 'conflict', "$action of version $version");
            is($reply->{fields}{version}, 3, '... says what stands');
        }

        is(step($action, 'customer', decision =>
                decision('customer', 'manager', $action))->{result},
           'conflict', "$action of another stage");
        is(dump_keys(), $before, '... changes nothing');

        is(step($action, 'customer', version => 3)->{result}, 'ok',
           "$action of version 3");
    }

    for my $case ([ cancel => 'engineer', 'awaiting_manager', 2 ],
                  [ answer => 'engineer', 'needs_info of the manager', 3 ],
                  [ complete => 'engineer', 'approved', 4 ],
                  [ grant => 'engineer', 'approved', 4 ],
                  [ revoke => 'manager', 'approved', 4 ])
    {
        my ($action, $who, $state, $version) = @$case;

        fresh($state);
        my $before = dump_keys();

        is(step($action, $who, version => $version - 1)->{result}, 'conflict',
           "$action of an old version");
        is(dump_keys(), $before, '... changes nothing');
        is(step($action, $who, version => $version)->{result}, 'ok',
           "$action of the version that stands");

        fresh($state);
        is(step($action, $who, version => undef)->{result}, 'ok',
           "$action of whatever stands");
    }
}

# Redis's clock goes on between our look at it and the script's, so only two
# of the four bounds can be met exactly.
sub clocks {
    my %skew = (
        -5001 => 'clock', -1000 => 'ok', 5000 => 'ok', 60_000 => 'clock',
    );

    for my $skew (sort { $a <=> $b } keys %skew) {
        flush();

        my $before = dump_keys();
        my $reply = file('engineer', decided_at => now() + $skew);
        is($reply->{result}, $skew{$skew}, "filed with a clock off by $skew");
        is(dump_keys(), $before, '... and nothing changed')
            if $skew{$skew} ne 'ok';

        for my $case ([ approve => 'manager', 'awaiting_manager' ],
                      [ deny => 'customer', 'awaiting_customer' ],
                      [ ask => 'customer', 'awaiting_customer' ],
                      [ answer => 'engineer', 'needs_info of the manager' ],
                      [ cancel => 'engineer', 'awaiting_manager' ],
                      [ complete => 'engineer', 'approved' ],
                      [ revoke => 'manager', 'approved' ])
        {
            my ($action, $who, $state) = @$case;

            fresh($state);
            $before = dump_keys();
            $reply = step($action, $who, decided_at => now() + $skew);
            is($reply->{result}, $skew{$skew},
               "$action with a clock off by $skew");
            is(dump_keys(), $before, '... and nothing changed')
                if $skew{$skew} ne 'ok';
        }
    }

    fresh('awaiting_manager');
    is(step('approve', 'manager', version => 1, decided_at => 1)->{result},
       'conflict', 'the version comes before the clock');
}

sub windows {
    fresh('awaiting_customer');

    my $decided = now() - 3000;
    my $reply = step('approve', 'customer', decided_at => $decided,
                     duration => 1);

    is($reply->{result}, 'ok', 'a window that is over when it opens');
    is($reply->{fields}{state}, 'expired', '... has expired');
    is($reply->{fields}{ended_at}, $reply->{fields}{expires_at},
       '... by its end');
    is_deeply($reply->{actions}, [], '... for good');
    is(live_until(), undef, '... and was never live');
    is(deadline(), $reply->{fields}{expires_at}, '... which is due');
    is(step('grant', 'engineer')->{result}, 'conflict', '... to nobody');
    is(swept()->{fields}{state}, 'expired', '... and is swept');
}

sub ends_and_decisions {
    my %cases = (
        cancel => [ 'engineer', 'awaiting_customer', 'engineer' ],
        complete => [ 'engineer', 'approved', 'engineer' ],
        revoke => [ 'customer', 'approved', 'customer' ],
    );

    for my $action (sort keys %cases) {
        my ($who, $state, $stage) = @{ $cases{$action} };

        fresh($state);
        my $count = stored()->{decisions};
        my $text = decision($who, $stage, $action);
        my $fields = did($action, $who, decision => $text);

        is($fields->{decisions}, $count + 1, "$action with a decision");
        is($fields->{"decision:$count"}, $text, '... records it');

        fresh($state);
        $fields = did($action, $who, decision => undef);
        is($fields->{decisions}, $count, "$action without one");
    }

    # only approvals and denials are judgements: max has asked something
    fresh('awaiting_manager');
    redis('HSET', request_key(), 'decision:2',
          decision('manager', 'manager', 'ask'), 'decisions', 3);
    is(did('approve', 'manager', required => { manager => 3, customer => 1 })
           ->{state}, 'awaiting_manager', 'what else was said is no approval');
    is(step('approve', 'third-manager')->{result}, 'ok',
       'but the third of three is');

    for my $action (qw(revoke complete)) {
        fresh('approved');
        ok(defined live_until(), "live before $action");
        did($action, $action eq 'revoke' ? 'customer' : 'engineer');
        is(live_until(), undef, "dead after $action");
    }
}


# Deadlines

sub sweeping {
    my %cases = (
        'lapsed, due at the manager' => [ 'lapsed', 'answer_by', 2 ],
        'lapsed, due at the customer' => [ 'lapsed', 'answer_by', 3 ],
        'lapsed, due at the engineer' => [ 'lapsed', 'answer_by', 3 ],
        'expired, due' => [ 'expired', 'expires_at', 4 ],
    );

    for my $name (sort keys %cases) {
        my ($state, $field, $version) = @{ $cases{$name} };

        fresh($name);
        is_deeply(due(10), [ [ 'acme', $ID ] ], "$name: is found");

        my $end = stored()->{$field};
        my $shown = called('show', 'manager')->{fields};
        is($shown->{ended_at}, $end, "$name: over before it is written");

        my $swept = sweep();
        is($swept->{result}, 'ok', "$name: swept");
        is_deeply($swept->{fields}, stored(), "$name: and written");
        is_deeply($swept->{actions}, [], "$name: with nothing to do");
        is(stored()->{state}, $state, "$name: as $state");
        is(stored()->{ended_at}, $end, "$name: by its deadline");
        is(stored()->{version}, $version + 1, "$name: a new version");
        is(deadline(), undef, "$name: no more deadline");
        is_deeply([ state_indexes() ], [], "$name: no more waiting");
        is(live_until(), undef, "$name: nothing live");
        is(kept_until(), $end + $RETENTION, "$name: history stays");
        is_deeply([ @{ (events())[-1] }{qw(event state iss sub)} ],
                  [ $state, $state, '', '' ], "$name: an event of nobody's");

        my $before = dump_keys();
        is(sweep()->{result}, 'conflict', "$name: once");
        is_deeply(due(10), [], "$name: and not found again");
        is(dump_keys(), $before, "$name: nothing more is changed");
    }

    for my $name (@COLUMNS[0 .. 4],
                  'denied', 'cancelled', 'revoked', 'completed')
    {
        fresh($name);
        my $before = dump_keys();
        is_deeply(due(10), [], "$name: is not due");
        is(sweep()->{result}, 'conflict', "$name: is not swept");
        is(dump_keys(), $before, "$name: and not changed");
    }

    fresh('awaiting_manager');
    redis('DEL', request_key());
    is(sweep()->{result}, 'not_found', 'a request that has gone');
    is(deadline(), undef, '... has no deadline');
    is_deeply([ map { @{ redis('ZRANGE', $_, 0, -1) } }
                    grep { !/engineer/ } state_indexes() ],
              [], '... and is not waited for');

    flush();
    for my $i (1 .. 5) {
        file('engineer', request => { id => id($i) });
        overdue(id($i), 1000 * (6 - $i));
    }
    file('engineer', request => { id => id(6) });

    is_deeply([ map { $_->[1] } @{ due(3) } ], [ map { id($_) } 1 .. 3 ],
              'the longest due come first, as many as asked for');
    is(scalar @{ due(10) }, 5, 'only what is due');

    fresh('awaiting_manager');
    redis('HDEL', request_key(), 'answer_by');
    is(called('show', 'manager')->{fields}{state}, 'lapsed',
       'open without a deadline is over');
    is(step('approve', 'manager')->{result}, 'conflict', '... for all');
}
