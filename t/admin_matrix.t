#!/usr/bin/env perl

# Why: who may do what, and when, is the whole point.  Every state meets every
# action by everybody, over HTTP; the table here is the test's own.  Whatever
# is refused must change nothing and leave one record, and the "actions" that
# somebody is shown must be those that he can take.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;

# Two managers and two customers have to approve.  The columns: nobody has
# approved, one manager has, both have, one customer has besides, all have,
# and over, in whatever way; and after one approval of that stage, the second
# manager, or the second customer, waits for an answer.
my @COLUMNS = qw(fresh manager managers customer approved over asked
                 asked-again);

my @EXPECTED = (
    [ 'approve ask', 'manager',
      'ok same_person conflict conflict conflict conflict conflict conflict' ],
    [ 'deny', 'manager',
      'ok same_person conflict conflict conflict conflict same_person
       conflict' ],
    [ 'approve ask', 'second-manager',
      'ok ok conflict conflict conflict conflict conflict conflict' ],
    [ 'deny', 'second-manager',
      'ok ok conflict conflict conflict conflict ok conflict' ],
    [ 'approve ask', 'customer',
      'conflict conflict ok same_person conflict conflict conflict conflict' ],
    [ 'deny', 'customer',
      'conflict conflict ok same_person conflict conflict conflict
       same_person' ],
    [ 'approve ask', 'second-customer',
      'conflict conflict ok ok conflict conflict conflict conflict' ],
    [ 'deny', 'second-customer',
      'conflict conflict ok ok conflict conflict conflict ok' ],
    [ 'approve deny ask', 'engineer-manager former-engineer',
      join ' ', ('own_request') x 8 ],
    [ 'answer', 'engineer engineer-manager',
      'conflict conflict conflict conflict conflict conflict ok ok' ],
    [ 'cancel', 'engineer engineer-manager',
      'ok ok ok ok conflict conflict ok ok' ],
    [ 'complete grant', 'engineer engineer-manager',
      'conflict conflict conflict conflict ok conflict conflict conflict' ],
    [ 'revoke', 'manager second-manager engineer-manager former-engineer
                 customer second-customer',
      'conflict conflict conflict conflict ok conflict conflict conflict' ],
    [ 'show', 'engineer engineer-manager former-engineer manager second-manager
               customer second-customer auditor',
      join ' ', ('ok') x 8 ],
);

# For these the request is not there; "nobody" has no token.
my %BLIND = map { $_ => 1 } qw(
    other-engineer other-customer roleless false-customer false-manager
);

my %STATUS = (
    ok => 200, no_token => 401, forbidden_role => 403, own_request => 403,
    same_person => 403, not_found => 404, conflict => 409,
);

# The attacks that the table answers.
my %CASES = (
    approve => 'W01 W02 W04 W11 W14', deny => 'W01 W02 W11 W14',
    ask => 'W01 W11 W14', answer => 'W11 W16',
    cancel => 'W11 W16', complete => 'W11 W16', revoke => 'W11 W14',
    grant => 'W05 W06 W11 W16', show => 'W11 W14',
);

my @STEPS = qw(approve deny ask answer cancel complete revoke grant);

# What each must say; "version" is what stands.
my %BODIES = (
    approve => [ 'version' ], deny => [ 'version' ],
    ask => [ 'version', comment => 'Which mailbox?' ],
    answer => [ comment => 'The inbox.' ],
);

my %RULE;

for (@EXPECTED) {
    my ($actions, $actors, @words) = @$_;
    my %rule;

    @rule{@COLUMNS} = map { split } @words;

    for my $action (split ' ', $actions) {
        $RULE{"$action $_"} = \%rule for split ' ', $actors;
    }
}

# How each state comes about, its column, and what it then reads as.
my %STATES = (
    'awaiting_manager' => [ 'fresh', 'awaiting_manager', sub { ripe(0) } ],
    'awaiting_manager, one approval' =>
        [ 'manager', 'awaiting_manager', sub { ripe(1) } ],
    'awaiting_customer' =>
        [ 'managers', 'awaiting_customer', sub { ripe(2) } ],
    'awaiting_customer, one approval' =>
        [ 'customer', 'awaiting_customer', sub { ripe(3) } ],
    'needs_info of a manager' => [ 'asked', 'needs_info', sub { asked(1,
        'second-manager') } ],
    'needs_info of a customer' => [ 'asked-again', 'needs_info', sub { asked(3,
        'second-customer') } ],
    'approved' => [ 'approved', 'approved', sub { ripe(4) } ],
    'denied with an open question' => [ 'over', 'denied', sub {
        denied_asking() } ],
    'cancelled with an open question' => [ 'over', 'cancelled', sub {
        my $id = asked(2, 'customer'); took('engineer', 'cancel', $id); $id;
    } ],
    'lapsed at the engineer, not swept' => [ 'over', 'lapsed', sub {
        my $id = asked(2, 'customer'); make_due($id, unseen => 1); $id;
    } ],
    'denied by a manager' => [ 'over', 'denied', sub { ended(1,
        'second-manager', 'deny', version => 2) } ],
    'denied by a customer' => [ 'over', 'denied', sub { ended(2, 'customer',
        'deny', version => 3) } ],
    'cancelled' => [ 'over', 'cancelled', sub { ended(1, 'engineer',
        'cancel') } ],
    'revoked' => [ 'over', 'revoked', sub { ended(4, 'customer',
        'revoke') } ],
    'completed' => [ 'over', 'completed', sub { ended(4, 'engineer',
        'complete') } ],
    'lapsed' => [ 'over', 'lapsed', sub { due(1) } ],
    'expired' => [ 'over', 'expired', sub { due(4) } ],
    'lapsed at the manager, not swept' =>
        [ 'over', 'lapsed', sub { due(1, unseen => 1) } ],
    'lapsed at the customer, not swept' =>
        [ 'over', 'lapsed', sub { due(3, unseen => 1) } ],
    'expired, not swept' => [ 'over', 'expired', sub { due(4, unseen => 1) } ],
);


my $t = Test::Lockbox->new;

begin($t, directives => { lockbox_approvals => 'manager=2 customer=2' });

# a Redis with nothing but the request in that state, and the request's id
my (%saved, %id);

for my $name (grep { !/^(lapsed|expired)$/ } sort keys %STATES) {
    redis('FLUSHALL');
    $id{$name} = $STATES{$name}[2]->();
    $saved{$name} = save_all();
}

redis('FLUSHALL');
$id{$_} = $STATES{$_}[2]->() for qw(lapsed expired);
$t->wait_for(sub { swept('lapsed') && swept('expired') }, undef, 'the sweep');
$saved{$_} = save_all() for qw(lapsed expired unknown);

$id{unknown} = Test::Lockbox::Conf::uuid7();

my $before;

matrix($_) for sort keys %id;
followed_through();

done_testing();


# A request with so many approvals.
sub ripe {
    my ($approvals) = @_;

    my @people = qw(manager second-manager customer second-customer);
    my $id = file();

    approve($_, $id) for @people[0 .. $approvals - 1];

    return $id;
}

# The same, and then a question.
sub asked {
    my ($approvals, $who) = @_;

    return ended($approvals, $who, 'ask', version => $approvals + 1,
                 comment => 'Which mailbox?');
}

sub denied_asking {
    my $id = asked(2, 'customer');

    took('second-customer', 'deny', $id, version => 4);

    return $id;
}

sub ended {
    my ($approvals, $who, $action, %body) = @_;

    my $id = ripe($approvals);
    took($who, $action, $id, %body);

    return $id;
}

sub due {
    my ($approvals, %options) = @_;

    my $id = ripe($approvals);
    make_due($id, %options);

    return $id;
}

sub swept {
    my ($state) = @_;

    return stored($id{$state})->{state} eq $state;
}


sub matrix {
    my ($name) = @_;

    my %can;

    load_all($saved{$name});
    $before = contents();
    records();

    for my $action ('show', @STEPS) {
        my (%got, %want);

        for my $who (sort(keys %PEOPLE), 'nobody') {
            my $word = expected($name, $action, $who);

            $got{$who} = step($name, $action, $who);
            $want{$who} = wanted($name, $action, $who, $word);
            push @{ $can{$who} }, $action
                if $action ne 'show' && $got{$who} =~ /^200 /;
        }

        is_deeply(\%got, \%want, "$name: $action ($CASES{$action})");
    }

    my %shown = map { $_ => act($_, 'show', $id{$name})->json->{actions} }
                keys %PEOPLE;

    is_deeply(\%shown,
              { map { $_ => $BLIND{$_} || $name eq 'unknown' ? undef
                                                           : $can{$_} // [] }
                    keys %PEOPLE },
              "$name: everybody is shown what he can do");
}

# The word that the table has for it.
sub expected {
    my ($name, $action, $who) = @_;

    return 'no_token' if $who eq 'nobody';
    return 'not_found' if $BLIND{$who} || $name eq 'unknown';

    my $rule = $RULE{"$action $who"} or return 'forbidden_role';

    return $rule->{ $STATES{$name}[0] };
}

# Takes the step and says all that came of it in one line; what was changed is
# put back.
sub step {
    my ($name, $action, $who) = @_;

    my $id = $id{$name};
    my $version = $name eq 'unknown' ? 1 : stored($id)->{version};
    my $response = act($who, $action, $id, body_of($action, $version));
    my @records = records();
    my $same = Test::More::eq_hash(contents(), $before);

    load_all($saved{$name}) unless $same;

    return join ' ', outcome($response),
        map({ $response->json->{$_} // () }
            $response->status == 409 ? qw(state version) : ()),
        $same ? 'unchanged' : 'changed', traces($who, $id, @records);
}

sub body_of {
    my ($action, $version) = @_;

    my ($first, @rest) = @{ $BODIES{$action} // return undef };

    return { $first eq 'version' ? (version => $version + 0) : $first, @rest };
}

# The records, and whether they are about this.
sub traces {
    my ($who, $id, @records) = @_;

    my %user = ('user.id' => undef, 'user.domain' => undef);

    if ($who ne 'nobody') {
        my $claims = Lockbox::Jose::decode(token_of($who))->{payload};
        %user = ('user.id' => $claims->{sub}, 'user.domain' => $claims->{iss});
    }

    my %about = (%user, 'organization.id' => 'acme',
                 'lockbox.request_id' => $id,
                 'event.id' => @records ? $records[0]{'event.id'} : undef);

    for my $record (@records) {
        for my $field (sort keys %about) {
            return "$field is wrong" if ($record->{$field} // '')
                                        ne ($about{$field} // '');
        }
    }

    return map { "[$_]" } record_words(@records);
}

# What step() has to say of it.
sub wanted {
    my ($name, $action, $who, $word) = @_;

    my $event = $action eq 'grant' ? 'collect' : $action;
    my @found = ($STATUS{$word}, $word);

    return "@found unchanged" if $word eq 'ok' && $action eq 'show';
    return "@found changed [start $event] [end $event allow]"
        if $word eq 'ok';

    push @found, $STATES{$name}[1], version($name) if $word eq 'conflict';

    return "@found unchanged [end $event $word]";
}

sub version {
    my ($name) = @_;

    return $before->{ request_key($id{$name}) }[1]{version};
}

# Where the steps lead that the matrix has only seen accepted.
sub followed_through {
    my @paths = (
        [ 'awaiting_manager', 'manager', 'approve', 'awaiting_manager' ],
        [ 'awaiting_manager, one approval', 'second-manager', 'approve',
          'awaiting_customer' ],
        [ 'awaiting_customer', 'customer', 'approve', 'awaiting_customer' ],
        [ 'awaiting_customer, one approval', 'second-customer', 'approve',
          'approved' ],
        [ 'awaiting_manager', 'second-manager', 'deny', 'denied' ],
        [ 'awaiting_customer', 'second-customer', 'deny', 'denied' ],
        [ 'awaiting_customer', 'engineer', 'cancel', 'cancelled' ],
        [ 'awaiting_manager, one approval', 'second-manager', 'ask',
          'needs_info' ],
        [ 'awaiting_customer', 'customer', 'ask', 'needs_info' ],
        [ 'needs_info of a manager', 'engineer', 'answer',
          'awaiting_manager' ],
        [ 'needs_info of a customer', 'engineer', 'answer',
          'awaiting_customer' ],
        [ 'needs_info of a manager', 'second-manager', 'deny', 'denied' ],
        [ 'needs_info of a customer', 'second-customer', 'deny', 'denied' ],
        [ 'needs_info of a customer', 'engineer', 'cancel', 'cancelled' ],
        [ 'approved', 'engineer', 'complete', 'completed' ],
        [ 'approved', 'manager', 'revoke', 'revoked' ],
        [ 'approved', 'engineer-manager', 'revoke', 'revoked' ],
    );

    for (@paths) {
        my ($name, $who, $action, $state) = @$_;
        my $name_of = "$name: $action by $who";

        load_all($saved{$name});
        $before = contents();
        my $answer = took($who, $action, $id{$name},
            %{ body_of($action, version($name)) // {} });

        is($answer->{state}, $state, "$name_of: $state");
        is($answer->{version}, version($name) + 1, '... is a new version');
        is(stored($id{$name})->{state}, $state, '... and is written');

        my $shown = act($who, 'show', $id{$name})->json;
        delete $answer->{effective_by};
        is_deeply($shown, $answer, '... and shown');
    }
}
