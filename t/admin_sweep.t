#!/usr/bin/env perl

# Why: no answer in time means no access, whether or not anybody looks.  The
# ends that come by themselves are written and recorded once, however many
# workers of however many proxies sweep; and until then they hold all the same.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;

# What time does to a request, and the version that it then has.
my %ENDS = (
    'unanswered by the manager' => [ 'lapsed', 2, sub { file() } ],
    'unanswered by the customer' => [ 'lapsed', 3, sub {
        my $id = file();
        approve('manager', $id);
        return $id;
    } ],
    'unanswered by the engineer' => [ 'lapsed', 4, sub {
        my $id = file();
        approve('manager', $id);
        took('customer', 'ask', $id, version => 2, comment => 'Which one?');
        return $id;
    } ],
    'run out' => [ 'expired', 4, sub { approved() } ],
);

my $t = Test::Lockbox->new;
my $second = Test::Lockbox->new;

begin($t, workers => 2);

$second->upstream;
$second->write_conf($second->conf(workers => 2, directives => {
    lockbox_redis => redis_at($t),
}));
$second->run;

before_the_sweep();
swept();
garbage();

done_testing();


sub everything_recorded {
    return map { $_->audit } $t, $second;
}

sub recorded_about {
    my ($id) = @_;

    return grep { ($_->{'lockbox.request_id'} // '') eq $id }
                everything_recorded();
}

# The sweeps that ended like this.
sub ended {
    my ($id, $action) = @_;

    return grep { $_->{'event.type'} eq 'end'
                  && $_->{'event.action'} eq $action } recorded_about($id);
}

sub is_swept {
    my ($id, $state) = @_;

    return stored($id)->{state} eq $state && ended($id, $state);
}


# What is past its time is over for whoever looks, and nobody has written it.
sub before_the_sweep {
    for my $name (sort keys %ENDS) {
        my ($state, $version, $make) = @{ $ENDS{$name} };

        my $id = $make->();
        my $grant = $state eq 'expired' ? collect($id) : undef;

        make_due($id, unseen => 1);
        my $before = contents();

        for my $who (qw(engineer manager customer auditor)) {
            my $seen = act($who, 'show', $id)->json;

            is($seen->{state}, $state, "$name: $state for $who");
            is_deeply($seen->{actions}, [], '... who can do nothing');
            ok(defined $seen->{ended_at}, '... since it ended');
        }

        for my $step ([ manager => 'approve' ], [ customer => 'approve' ],
                      [ manager => 'deny' ], [ customer => 'deny' ],
                      [ engineer => 'cancel' ], [ engineer => 'grant' ],
                      [ engineer => 'complete' ], [ customer => 'revoke' ])
        {
            my ($who, $action) = @$step;
            my $response = act($who, $action, $id,
                $action =~ /approve|deny/ ? { version => $version - 1 }
                                          : undef);

            is(outcome($response), '409 conflict', "$name: $who, $action"
               . ($action eq 'grant' ? ' (W06)' : ''));
            is($response->json->{state}, $state, '... because of that');
        }

        is(outcome(knock($grant)), '401 not_live', "$name: no access (W06)")
            if $grant;

        my $list = ask('manager', 'GET', "/lockbox/v1/requests?state=$state");
        is(scalar(grep { $_->{id} eq $id } @{ $list->json->{requests} }), 1,
           "$name: listed as $state");
        is_deeply(contents(), $before, '... which nobody has written');
    }
}

# Nobody looks; a second batch shows that the first is not swept again.
sub swept {
    my (%batches, $grant);

    for my $batch (1, 2) {
        for my $name (sort keys %ENDS) {
            my $id = $ENDS{$name}[2]->();

            $grant = collect($id) if $name eq 'run out';
            make_due($id);
            $batches{$batch}{$name} = $id;
        }

        $t->wait_for(sub {
            my $missing = grep { !is_swept($batches{$batch}{$_}, $ENDS{$_}[0]) }
                               keys %ENDS;
            return !$missing;
        }, undef, 'the sweep');
    }

    for my $name (sort keys %ENDS) {
        my $id = $batches{1}{$name};
        my ($state, $version) = @{ $ENDS{$name} };
        my $fields = stored($id);

        is($fields->{state}, $state, "$name: $state is written");
        is($fields->{version}, $version, '... once');
        is($fields->{ended_at},
           $fields->{ $state eq 'lapsed' ? 'answer_by' : 'expires_at' },
           '... with its time');
        is(deadline_of($id), undef, '... and is no more to come');

        my $stream = redis('XRANGE', 'lockbox:{acme}:events', '-', '+');
        my @events = grep { $_->{id} eq $id && $_->{event} eq $state }
                     map { { @{ $_->[1] } } } @$stream;
        is(scalar @events, 1, '... and announced once');

        on_record($name, $id, $state);
    }

    is(outcome(knock($grant)), '401 expired', 'the gate says so, too');
}

# One sweep did it; others that came late may have found nothing to do.
sub on_record {
    my ($name, $id, $state) = @_;

    my @sweeps = grep { $_->{'event.action'} =~ /^(sweep|$state)$/ }
                      recorded_about($id);
    my @done = ended($id, $state);
    my %intents = map { $_->{'event.id'} => $_ }
                  grep { $_->{'event.type'} eq 'start' } @sweeps;

    is(scalar @done, 1, "$name: recorded once");
    is_deeply([ @{ $done[0] }{qw(event.outcome event.reason organization.id
                                 user.id)} ],
              [ 'success', 'allow', 'acme', undef ], '... by nobody');
    ok($intents{ $done[0]{'event.id'} }, '... behind an intent');
    is_deeply([ grep { $_ ne 'end sweep conflict' && $_ ne "end $state allow"
                       && $_ ne 'start sweep' } record_words(@sweeps) ], [],
              '... and no other way');
}

# What does not belong among the deadlines keeps nothing else from its end.
sub garbage {
    my $gone = Test::Lockbox::Conf::uuid7();
    my @members = ('', 'x', ':', 'acme:', ":$gone", 'acme:x y', "a}b:$gone",
                   "acme:$gone");

    redis('ZADD', 'lockbox:deadlines', map { ($_ => $members[$_]) }
                                           0 .. $#members);

    my ($text, $broken, $id) = map { file() } 1 .. 3;

    make_due($_) for $text, $broken, $id;
    redis('ZINCRBY', 'lockbox:deadlines', -1000, "acme:$_")
        for $text, $broken;
    redis('DEL', request_key($text));
    redis('SET', request_key($text), 'x');
    redis('HDEL', request_key($broken), 'version');

    $t->wait_for(sub { is_swept($id, 'lapsed') }, undef,
                 'the sweep behind the garbage');
    pass('what is due is swept');

    $t->wait_for(sub { !redis('EXISTS', 'lockbox:deadlines') }, undef,
                 'the garbage to go');
    pass('and the garbage, too');
}
