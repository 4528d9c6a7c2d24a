#!/usr/bin/perl

# Why: between a worker's look at a policy and its step another worker may
# write.  So the script compares the version that was gone by, and replaces
# only the one that was seen, whatever was judged before.

use strict;
use warnings;

use JSON::PP ();

use Test::Lockbox;
use Test::Lockbox::Workflow;

my $JSON = JSON::PP->new->utf8->canonical;
my $KEY = 'lockbox:{acme}:policy';

my $t = Test::Lockbox->new;
start($t);

reading();
setting();
wrong_arguments();
gone_by();
stand_ins();
no_stand_ins();
broken();

done_testing();


sub set_args {
    my ($who, %args) = @_;

    return (actor => $ACTOR{$who}, tenant => 'acme', version => 0,
            decision => decision($who, 'customer', 'policy'),
            decided_at => now(), %args);
}

sub set {
    my ($who, %args) = @_;

    return called('set_policy', $who, set_args($who, %args));
}

sub read_policy {
    my ($who, %args) = @_;

    return called('policy', $who, count => 16, %args);
}

# The version in force, put there by hand.
sub in_force {
    my ($version) = @_;

    redis('HSET', $KEY, version => $version);
}

sub reading {
    flush();

    my %sees = map { $_ => 1 } qw(
        engineer engineer-manager engineer-customer engineer-as-both
        other-engineer namesake manager third-manager manager-decided
        decided-customer decided-as-both decided-namesake customer
        second-customer auditor tenant-auditor
    );

    for my $who (sort keys %ACTOR) {
        my $reply = read_policy($who);

        is($reply->{result}, $sees{$who} ? 'ok' : 'not_found', "read by $who");
        is_deeply($reply->{fields}, $sees{$who} ? { version => 0 } : {},
                  '... is none');
    }

    is(dump_keys(), '', 'and reading leaves nothing');
}

sub setting {
    my %sets = map { $_ => 1 } qw(
        customer second-customer decided-customer decided-as-both
        engineer-customer engineer-as-both
    );

    for my $who (sort keys %ACTOR) {
        flush();
        my $reply = set($who);
        my $wanted = $sets{$who} ? 'ok'
                   : $who =~ /^(?:other-customer|tenantless|other-auditor
                                  |customer-auditor|nobody
                                  |engineer-no-longer)$/x
                   ? 'not_found' : 'forbidden_role';

        is($reply->{result}, $wanted, "set by $who");
        is(dump_keys() eq '', $wanted ne 'ok', '... or not');
    }

    flush();
    my $first = set('customer');
    my $text = decision('customer', 'customer', 'policy');

    is_deeply($first->{fields}, { version => 1, 'policy:1' => $text },
              'the first one');
    is_deeply($first->{actions}, [], '... of which there are no steps');
    is_deeply([ map { "$_->{event} $_->{version} $_->{sub}" } events() ],
              [ 'policy_changed 1 cleo' ], '... is announced');
    is(redis('PTTL', $KEY), -1, '... and stays');

    my $before = dump_keys();
    for my $version (0, 2, 3) {
        my $reply = set('customer', version => $version);

        is($reply->{result}, 'conflict', "version $version instead");
        is_deeply($reply->{fields}, { version => 1 }, '... is told which');
    }
    is(set('customer', version => 1, decided_at => now() - 5500)->{result},
       'clock', 'an old decision');
    is(dump_keys(), $before, '... change nothing');

    is(set('customer', version => $_)->{fields}{version}, $_ + 1, "after $_")
        for 1 .. 17;

    my $reply = read_policy('customer');
    is_deeply([ sort { $a <=> $b } map { /^policy:(\d+)/ }
                keys %{ $reply->{fields} } ], [ 3 .. 18 ], 'sixteen are kept');
    is_deeply([ sort keys %{ read_policy('customer', count => 1)->{fields} } ],
              [ 'policy:18', 'version' ], 'of which as many are read');
}

sub wrong_arguments {
    flush();

    for my $case ([ version => undef ], [ version => -1 ], [ version => 0.5 ],
                  [ version => '0' ], [ version => 1e15 ],
                  [ decision => undef ], [ decision => '[]' ],
                  [ decision => decision('second-customer', 'customer',
                                         'policy') ],
                  [ decided_at => undef ], [ tenant => undef ],
                  [ tenant => 'a}b' ], [ actor => undef ])
    {
        ok(set('customer', @$case)->{error}, "set with a wrong $case->[0]");
    }

    for my $case ([ count => undef ], [ count => 0 ], [ count => 17 ],
                  [ count => '1' ], [ tenant => undef ], [ actor => undef ])
    {
        ok(read_policy('customer', @$case)->{error},
           "read with a wrong $case->[0]");
    }

    is(dump_keys(), '', 'and nothing is there');
}

# Filed and approved by the version that is in force.
sub gone_by {
    for my $case ([ undef, undef, 1 ], [ undef, 0, 1 ], [ undef, 1, 0 ],
                  [ 1, undef, 0 ], [ 1, 0, 0 ], [ 1, 1, 1 ], [ 1, 2, 0 ],
                  [ 2, 1, 0 ], [ 'x', 0, 0 ], [ '01', 1, 0 ], [ '', 0, 0 ])
    {
        my ($there, $by, $good) = @$case;
        my $name = sprintf 'by version %s where %s is in force',
                           $by // 'none', defined $there ? "'$there'" : 'none';

        flush();
        in_force($there) if defined $there;
        my $before = dump_keys();
        my $reply = file('engineer', policy => $by);

        is($reply->{result}, $good ? 'ok' : 'stale_policy', "filed $name");
        is_deeply($reply->{fields}, {}, '... with nothing to see') if !$good;
        is(dump_keys() eq $before, !$good, '... or not');

        for my $state (qw(awaiting_manager awaiting_customer)) {
            my $who = $state =~ s/awaiting_//r;

            fresh($state);
            in_force($there) if defined $there;
            $before = dump_keys();
            $reply = step('approve', $who, policy => $by);

            is($reply->{result}, $good ? 'ok' : 'stale_policy',
               "approved by $who $name");
            is($reply->{fields}{id}, $ID, '... who sees the request');
            is(dump_keys() eq $before, !$good, '... or not');

            $reply = step('deny', $who, policy => $by);
            is($reply->{result}, 'ok', 'and to deny goes by none') if !$good;
        }
    }

    # what is the matter first
    fresh('awaiting_manager');
    in_force(1);
    is(step('approve', 'manager', version => 9)->{result}, 'conflict',
       'another version of the request comes first');
    is(step('approve', 'customer')->{result}, 'conflict', 'so does the stage');
    is(step('approve', 'manager-decided')->{result}, 'same_person',
       'and the person');
    is(step('approve', 'manager', decided_at => 1)->{result}, 'stale_policy',
       'the clock comes behind');
}

# What the customer has approved beforehand, as a decision of theirs.
sub given {
    my ($who, $stage, %more) = @_;

    my $text = decision($who // 'customer', $stage // 'customer', 'approve');

    return $JSON->encode({ %{ $JSON->decode($text) },
                           preapproval => 'triage', %more });
}

sub stand_ins {
    fresh('awaiting_manager');

    my $version = stored()->{version};
    my $fields = did('approve', 'manager', preapproval => given());

    is($fields->{state}, 'approved', 'the manager, and who was there before');
    is($fields->{version}, $version + 2, '... are two steps');
    is($fields->{decisions}, 4, '... and two decisions');
    is($fields->{'decision:3'}, given(), '... as they were sent');
    ok(live_until(), '... and it is live');
    is_deeply([ map { join ' ', @$_{qw(event state version sub)},
                                $_->{preapproval} // () }
                (events())[-2, -1] ],
              [ 'approved awaiting_customer ' . ($version + 1) . ' max',
                'approved approved ' . ($version + 2) . ' cleo triage' ],
              '... and two events');
    is(deadline(), $fields->{expires_at}, '... with one end');
    is_deeply([ grep { defined redis('ZSCORE', "lockbox:requests:$_",
                                     "acme:$ID") }
                     qw(awaiting_manager awaiting_customer approved) ],
              ['approved'], '... and nobody waits');

    # one of two
    fresh('awaiting_manager');
    $fields = did('approve', 'manager', preapproval => given(),
                  required => { manager => 1, customer => 2 });
    is($fields->{state}, 'awaiting_customer', 'one of two customers');
    is($fields->{decisions}, 4, '... has approved');
    is(step('approve', 'customer')->{result}, 'same_person',
       '... and does not again');
    is(did('approve', 'second-customer',
           required => { manager => 1, customer => 2 })->{state}, 'approved',
       '... but another one does');

    # what was narrowed by the manager is what was approved
    fresh('awaiting_manager');
    $fields = did('approve', 'manager', preapproval => given(),
                  access => '[]', duration => 60);
    is_deeply([ @$fields{qw(access duration)} ], [ '[]', 60 ], 'narrowed');
}

sub no_stand_ins {
    my %cases = (
        'before the managers are done' => [
            [ preapproval => given(),
              required => { manager => 9, customer => 1 } ],
            'awaiting_manager' ],
        'where no customer is needed' => [
            [ preapproval => given(),
              required => { manager => 1, customer => 0 } ], 'approved' ],
        'the engineer' => [ [ preapproval => given('engineer') ] ],
        'who has approved before' => [
            [ preapproval => given('manager-decided') ] ],
        'who approves now' => [ [ preapproval => given('manager') ] ],
        'a manager\'s' => [ [ preapproval => given('customer', 'manager') ] ],
        'an auditor\'s' => [ [ preapproval => given('customer', 'auditor') ] ],
    );

    for my $name (sort keys %cases) {
        my ($args, $state) = @{ $cases{$name} };

        fresh('awaiting_manager');
        my $decisions = stored()->{decisions};
        my $fields = did('approve', 'manager', @$args);

        is($fields->{state}, $state // 'awaiting_customer', $name);
        is($fields->{decisions}, $decisions + 1, '... stands in for nobody');
        is((events())[-1]{sub}, 'max', '... nor is it announced');
    }

    # only the managers' last approval brings it in
    fresh('awaiting_customer');
    is(did('approve', 'customer', preapproval => given('second-customer'),
           required => { manager => 1, customer => 2 })->{state},
       'awaiting_customer', 'a customer who comes later');

    fresh('awaiting_manager');
    my $before = dump_keys();

    for my $wrong ('', '[]', 'x', '{}', given('customer', ''),
                   given(undef, undef, preapproval => ''),
                   given(undef, undef, preapproval => undef),
                   given(undef, undef, by => { iss => 'https://a.example' }))
    {
        ok(step('approve', 'manager', preapproval => $wrong)->{error},
           "given as '" . substr($wrong, 0, 30) . "'");
    }

    in_force(1);
    $before = dump_keys();
    is(step('approve', 'manager', preapproval => given())->{result},
       'stale_policy', 'given by another version');
    is(dump_keys(), $before, '... nothing of it is done');
    is(step('approve', 'manager', preapproval => given(), policy => 1)
           ->{fields}{state}, 'approved', '... but by that');
}

# A key of another type stops everything before its first write.
sub broken {
    for my $key ($KEY, 'lockbox:{acme}:events') {
        flush();
        redis('SET', $key, 'x');
        my $before = dump_keys();
        ok(set('customer')->{error}, "set with a broken $key");
        is(dump_keys(), $before, '... changes nothing');
    }

    flush();
    redis('SET', $KEY, 'x');
    ok(read_policy('customer')->{error}, 'a broken key is not read');
    ok(file('engineer')->{error}, '... nor filed by');
}
