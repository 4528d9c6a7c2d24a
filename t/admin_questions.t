#!/usr/bin/env perl

# Why: whoever decides must be able to ask first, without losing time by it,
# and nobody must gain any: a question is no approval, its answer is the
# engineer's alone, and a request does not live longer for being talked about.

use strict;
use warnings;

use Time::Local qw(timegm);

use Lockbox::Jose qw(decode);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Seals;

my $VENDOR = 'https://login.vendor.example';
my $CUSTOMERS = 'https://login.customers.example';

my $t = Test::Lockbox->new;

begin($t, directives => {
    lockbox_answer_within => 'manager=1h customer=2h engineer=3h',
});

asked_and_answered();
both_stages();
the_clock_stands_still();
the_whole_life();
versions();
ended_meanwhile();
as_it_was_sealed();
so_often();
customers_of_others();

done_testing();


sub msec {
    my ($text) = @_;

    my ($year, $month, @rest) =
        $text =~ /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{3})Z$/
        or die "no time: $text\n";
    my ($day, $hour, $minute, $second, $msec) = @rest;

    return timegm($second, $minute, $hour, $day, $month - 1, $year) * 1000
           + $msec;
}

sub question {
    my ($who, $id) = @_;

    return took($who, 'ask', $id, version => stored($id)->{version} + 0,
                comment => 'Which mailbox?');
}

sub reply {
    my ($id) = @_;

    return took('engineer', 'answer', $id, comment => 'The inbox.');
}


# Who asked what, and what the answer was, is there for all who come later.
sub asked_and_answered {
    my $id = file();

    records();
    my $asked = question('manager', $id);

    is($asked->{state}, 'needs_info', 'a manager asks');
    is($asked->{asked_by_stage}, 'manager', '... for his stage');
    is($asked->{version}, 2, '... which is a version');
    is($asked->{answer_by}, $asked->{lapses_at},
       '... and the engineer has as long as the request has');
    is_deeply([ record_words(records()) ], [ 'start ask', 'end ask allow' ],
              '... on record');

    my $seen = act('engineer', 'show', $id)->json;

    is_deeply($seen->{decisions}, [ {
        stage => 'manager', decision => 'ask', comment => 'Which mailbox?',
        by => { iss => $VENDOR, sub => 'mona' },
        at => $seen->{decisions}[0]{at},
    } ], 'the engineer sees the question');
    is_deeply([ sort @{ $seen->{actions} } ], [qw(answer cancel)],
              '... and what he can do');

    my $answered = reply($id);

    is($answered->{state}, 'awaiting_manager', 'answered, it goes on');
    is($answered->{asked_by_stage}, undef, '... without a question');
    is_deeply([ record_words(records()) ],
              [ 'start answer', 'end answer allow' ], '... on record');

    $seen = act('manager', 'show', $id)->json;
    is_deeply([ map { [ @$_{qw(stage decision comment)} ] }
                    @{ $seen->{decisions} } ],
              [ [ 'manager', 'ask', 'Which mailbox?' ],
                [ 'engineer', 'answer', 'The inbox.' ] ],
              'the manager sees both');
    is_deeply([ sort @{ $seen->{actions} } ], [qw(approve ask deny)],
              '... and what he can do');

    my @claims = map { decode($_)->{payload} } seals_of($id);
    is_deeply([ map { [ @$_{qw(stage decision version by_iss sub)} ] }
                    @claims[1, 2] ],
              [ [ 'manager', 'ask', 1, $VENDOR, 'mona' ],
                [ 'engineer', 'answer', 2, $VENDOR, 'erin' ] ],
              'both are sealed');

    is(approve('manager', $id)->{state}, 'awaiting_customer',
       'whoever has asked may approve');
    approve('customer', $id);
    is(outcome(knock(collect($id))), '200 ok', '... and the grant is good');
}

sub both_stages {
    change_conf(directives => {
        lockbox_approvals => 'manager=2 customer=2',
    });

    my $id = file();
    my @steps = (
        [ 'manager', 'ask' ], [ 'manager', 'approve' ],
        [ 'second-manager', 'ask' ], [ 'second-manager', 'approve' ],
        [ 'customer', 'ask' ], [ 'second-customer', 'ask' ],
        [ 'second-customer', 'approve' ], [ 'customer', 'approve' ],
    );

    for (@steps) {
        my ($who, $action) = @$_;

        if ($action eq 'approve') {
            approve($who, $id);
            next;
        }

        my $stage = $who =~ s/second-//r;
        my $before = stored($id)->{state};

        is(question($who, $id)->{asked_by_stage}, $stage, "$who asks");
        is(outcome(act($_, 'approve', $id,
                       { version => stored($id)->{version} + 0 })),
           '409 conflict', "... and $_ can not approve meanwhile")
            for 'second-manager', 'second-customer';
        is(reply($id)->{state}, $before, '... and all goes on');
    }

    is(stored($id)->{state}, 'approved', 'all have asked and approved');
    is(outcome(knock(collect($id))), '200 ok', '... which opens the door');

    # who has decided has asked enough
    $id = file();
    approve('manager', $id);
    is(outcome(act('manager', 'ask', $id, { version => 2, comment => '?' })),
       '403 same_person', 'who has approved asks no more');

    change_conf(directives => {
        lockbox_answer_within => 'manager=1h customer=2h engineer=3h',
    });
}

# What was left of the stage's time is left when the answer is there.
sub the_clock_stands_still {
    my $id = file();
    my $begins = msec(act('engineer', 'show', $id)->json->{answer_by});

    # as if half an hour had passed
    redis('HINCRBY', request_key($id), 'answer_by', -1_800_000);
    redis('HINCRBY', request_key($id), 'created_at', -1_800_000);

    question('manager', $id);
    my $left = stored($id)->{remaining};
    cmp_ok(abs($left - 1_800_000), '<', 60_000, 'half an hour is left');

    # and as if the answer had taken an hour more
    my $before = now();
    my $answered = reply($id);
    my $after = now();

    cmp_ok(msec($answered->{answer_by}), '>=', $before + $left,
           '... and is left when it is answered');
    cmp_ok(msec($answered->{answer_by}), '<=', $after + $left,
           '... and no more');
    is(deadline_of($id), msec($answered->{answer_by}), '... to the sweep');
    cmp_ok(msec($answered->{answer_by}), '<', $begins,
           '... which is no new hour');
}

# 1 h and 2 h and 3 h after the filing it is over, wherever it is.
sub the_whole_life {
    my $id = file();
    my $filed = act('engineer', 'show', $id)->json;
    my $cap = msec($filed->{created_at}) + 6 * 3_600_000;

    is(msec($filed->{lapses_at}), $cap, 'the time of all three is the most');
    is(msec(question('manager', $id)->{answer_by}), $cap,
       '... that a question can take');
    is(deadline_of($id), $cap, '... as the sweep knows');

    # as if all but a minute of it were over
    redis('HSET', request_key($id), 'lapses_at', now() + 60_000);
    $cap = stored($id)->{lapses_at};

    is(msec(reply($id)->{answer_by}), $cap, 'no stage goes on beyond it');
    is(msec(approve('manager', $id)->{answer_by}), $cap, '... nor the next');
    is(msec(question('customer', $id)->{answer_by}), $cap,
       '... nor the engineer again');

    make_due($id, unseen => 1);
    is(act('engineer', 'show', $id)->json->{state}, 'lapsed',
       'then it lapses with its question open');
    is(outcome(act('engineer', 'answer', $id, { comment => 'Here!' })),
       '409 conflict', '... and the answer comes too late');
    is(outcome(act('customer', 'deny', $id, { version => 4 })),
       '409 conflict', '... as does everything else');

    redis('ZADD', 'lockbox:deadlines', now() - 1000, "acme:$id");
    $t->wait_for(sub { stored($id)->{state} eq 'lapsed' }, undef,
                 'the sweep');
    is(stored($id)->{state}, 'lapsed', 'the sweep writes it down');
}

# On what has been seen, or on whatever stands.
sub versions {
    my $id = file();

    for my $version (2, 3) {
        is(outcome(act('manager', 'ask', $id,
                       { version => $version, comment => '?' })),
           '409 conflict', "a question about version $version of one");
    }

    question('manager', $id);

    for my $version (1, 3) {
        is(outcome(act('engineer', 'answer', $id,
                       { version => $version, comment => '!' })),
           '409 conflict', "an answer to version $version of two");
    }

    is(took('engineer', 'answer', $id, version => 2, comment => '!')
           ->{version}, 3, 'an answer to the version that stands');
    is(outcome(act('engineer', 'answer', $id, { comment => '!' })),
       '409 conflict', 'nothing to answer');

    # what was seen before the answer is not what stands
    is(outcome(act('manager', 'approve', $id, { version => 1 })),
       '409 conflict', 'who has not seen the answer does not approve');
    is(approve('manager', $id)->{state}, 'awaiting_customer',
       '... but who has');
}

sub ended_meanwhile {
    my %ends = (
        'the engineer withdraws' => [ 'cancelled', 'engineer', 'cancel' ],
        'the stage that asked denies' => [ 'denied', 'second-manager',
                                           'deny', version => 2 ],
        'who has asked denies' => [ 'denied', 'manager', 'deny',
                                    version => 2 ],
    );

    for my $name (sort keys %ends) {
        my ($state, @step) = @{ $ends{$name} };
        my $id = file();

        question('manager', $id);
        my ($who, $action, %body) = @step;
        is(took($who, $action, $id, %body)->{state}, $state, $name);
        is(outcome(act('engineer', 'answer', $id, { comment => '!' })),
           '409 conflict', '... and that is that');
        ok(!defined deadline_of($id), '... without a deadline');
    }

    my $id = file();
    question('manager', $id);
    is(outcome(act('customer', 'deny', $id, { version => 2 })),
       '409 conflict', 'the other stage has no say yet');
}

# Redis cannot ask, nor answer, nor say what was asked.
sub as_it_was_sealed {
    my $asked = file();
    question('manager', $asked);
    my $plain = file();
    my $answered = file();
    question('manager', $answered);
    reply($answered);
    my $saved = save_all();

    my @comment = ('decision:1' => stored($asked)->{'decision:1'}
                                       =~ s/Which mailbox/Which mail/r);
    my @cases = (
        [ 'a question that was none', $plain, 'engineer', 'answer',
          [ state => 'needs_info', asked_by_stage => 'manager',
            remaining => 60_000 ] ],
        [ 'a question that was none', $plain, 'manager', 'deny',
          [ state => 'needs_info', asked_by_stage => 'manager' ], 1 ],
        [ 'a question that is none any more', $asked, 'manager', 'approve',
          [ state => 'awaiting_manager' ], 2 ],
        [ 'a question that has gone', $asked, 'engineer', 'cancel',
          [ state => 'awaiting_manager' ] ],
        [ 'another question', $asked, 'engineer', 'answer', \@comment ],
        [ 'an answer withdrawn', $answered, 'engineer', 'answer',
          [ state => 'needs_info', asked_by_stage => 'manager' ] ],
        [ 'approved with a question', $asked, 'engineer', 'grant',
          [ state => 'approved', expires_at => now() + 60_000 ] ],
    );

    for (@cases) {
        my ($name, $id, $who, $action, $fields, $version) = @$_;

        load_all($saved);
        redis('HSET', request_key($id), @$fields);
        my $before = contents();
        records();

        my $event = $action eq 'grant' ? 'collect' : $action;
        my %body = $version ? (version => $version)
                 : $action eq 'answer' ? (comment => 'The inbox.') : ();

        is(outcome(act($who, $action, $id, \%body)), '503 internal_error',
           "$name: $action");
        is_deeply(contents(), $before, '... changes nothing');
        is_deeply([ record_words(records()) ], [ "end $event internal_error" ],
                  '... and is recorded');
    }

    # whose question it is, is as it was sealed, too
    load_all($saved);
    redis('HSET', request_key($asked), asked_by_stage => 'customer');
    is(outcome(act('customer', 'deny', $asked, { version => 2 })),
       '409 conflict', 'a question given to the other stage');

    load_all($saved);
    is(reply($asked)->{state}, 'awaiting_manager', '... but for that');
    is(approve('manager', $answered)->{state}, 'awaiting_customer',
       '... and that');
}

sub so_often {
    my $id = file();

    for (1 .. 8) {
        question('manager', $id);
        reply($id);
    }

    is(outcome(act('manager', 'ask', $id, { version => 17, comment => '?' })),
       '409 conflict', 'a ninth question');
    is_deeply([ sort @{ act('manager', 'show', $id)->json->{actions} } ],
              [qw(approve deny)], '... is not offered either');

    approve('manager', $id);
    approve('customer', $id);
    is(outcome(knock(collect($id))), '200 ok', '... and enough is known');
}

# Nor can others ask or answer, whoever they are (W11 W14 W16).
sub customers_of_others {
    my $id = file();
    approve('manager', $id);
    my $before = contents();

    for my $who (qw(other-customer false-customer)) {
        is(outcome(act($who, 'ask', $id, { version => 2, comment => '?' })),
           '404 not_found', "$who asks nothing (W11 W14)");
    }

    for my $who (qw(engineer engineer-manager manager auditor)) {
        like(outcome(act($who, 'ask', $id, { version => 2, comment => '?' })),
             qr/^(?:403 (?:forbidden_role|own_request)|409 conflict)$/,
             "$who does not ask for the customer");
    }

    is_deeply(contents(), $before, '... and nothing has changed');

    question('customer', $id);
    $before = contents();

    my %refused = (
        'other-engineer' => '404 not_found', customer => '403 forbidden_role',
        manager => '403 forbidden_role', auditor => '403 forbidden_role',
        'former-engineer' => '403 forbidden_role',
    );

    for my $who (sort keys %refused) {
        is(outcome(act($who, 'answer', $id, { comment => '!' })),
           $refused{$who}, "$who does not answer for the engineer (W16)");
    }

    is_deeply(contents(), $before, '... and nothing has changed');
    is(reply($id)->{state}, 'awaiting_customer', 'the engineer answers');
}
