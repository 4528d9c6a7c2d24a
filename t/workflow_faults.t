#!/usr/bin/env perl

# Why: whatever arrives, and whatever is wrong with Redis, a step happens whole
# or not at all, and once.

use strict;
use warnings;

use Digest::SHA qw(sha1_hex);
use JSON::PP ();

use Test::Lockbox;
use Test::Lockbox::Workflow;

my $JSON = JSON::PP->new->utf8->canonical->allow_nonref;

my $t = Test::Lockbox->new;

start($t);

many_at_once();
hostile_texts();
malformed_arguments();
full_redis();
broken_keys();
foreign_hashes();
many_events();
too_few_permissions();

done_testing();


# Every client has sent its calls before the first answer is read.
sub many_at_once {
    my %cases = (
        'a sweep' => [ 'expired, due', 'sweep', undef, 'conflict' ],
        'a manager\'s approval' =>
            [ 'awaiting_manager', 'approve', 'manager', 'same_person' ],
        'a customer\'s approval' =>
            [ 'awaiting_customer', 'approve', 'customer', 'same_person' ],
        'a denial' => [ 'awaiting_customer', 'deny', 'customer', 'conflict' ],
        'a revocation' => [ 'approved', 'revoke', 'manager', 'conflict' ],
    );

    for my $name (sort keys %cases) {
        my ($state, $action, $who, $refusal) = @{ $cases{$name} };

        fresh($state);

        my $version = stored()->{version};
        my %args = $who
            ? (step_args($action, $who),
               required => { manager => $state eq 'awaiting_manager' ? 9 : 2,
                             customer => 9 })
            : (tenant => 'acme', id => $ID, retention => $RETENTION);
        my @clients = map { $t->redis_client } 1 .. 20;
        my %results;

        for my $client (@clients) {
            send_call($client, $action, \%args) for 1 .. 5;
        }

        for my $client (@clients) {
            $results{ $client->reply->[0] }++ for 1 .. 5;
        }

        is_deeply(\%results, { ok => 1, $refusal => 99 },
                  "a hundred times at once, $name counts once");
        is(stored()->{version}, $version + 1, '... and is one version');
    }
}

sub hostile_texts {
    my %texts = (
        braces => '}:request:{x} {acme} %s %n $1 \\1',
        lines => "one\r\ntwo\n*1\r\n\$7\r\nFLUSHDB\r\n",
        nul => "before\0after",
        unicode => "\x{20ac} \x{1f511} \x{202e}txt\x{2066} \x{fffd}",
        json => '","state":"approved","x":"',
        lua => ']] redis.call("FLUSHALL") --[[',
        quotes => q{'"`<script>alert(1)</script>},
        long => 'x' x 20_000,
        empty => '',
    );

    for my $name (sort keys %texts) {
        flush();

        my $text = $texts{$name};
        my %person = (%{ $ACTOR{engineer} }, sub => "eve $text",
                      iss => "https://vendor.example/$text");
        local $ACTOR{strange} = \%person;
        my $reply = file('strange', request => {
            justification => $text, ticket => $text, reason => $text,
            access => $text,
        });

        is($reply->{result}, 'ok', "$name: filed");

        for my $field (qw(justification ticket reason access)) {
            is($reply->{fields}{$field}, $text, "$name: $field is kept");
        }

        is($reply->{fields}{engineer_sub}, $person{sub}, "$name: and who");
        is_deeply($reply->{fields}, stored(), "$name: and written");
        is(scalar @{ redis('KEYS', '*') }, 12, "$name: in the usual keys");
        is(listed('strange')->{ids}[0], $ID, "$name: and listed");
        is((events())[-1]{sub}, $person{sub}, "$name: and announced");
        is(called('show', 'engineer')->{result}, 'not_found',
           "$name: to nobody else");
        is(step('cancel', 'strange')->{result}, 'ok', "$name: and cancelled");
    }
}

# Each line is one thing wrong with a call that is otherwise accepted.
sub malformed_arguments {
    my %roles = %{ $ACTOR{manager}{roles} };
    my @wrong = (
        [ approve => 'version', undef ],
        [ approve => 'version', '2' ],
        [ approve => 'version', 1.5 ],
        [ approve => 'version', 0 ],
        [ approve => 'version', -1 ],
        [ approve => 'version', 1e15 ],
        [ approve => 'version', [] ],
        [ approve => 'decision', undef ],
        [ approve => 'decision', {} ],
        [ approve => 'decision', 'no JSON' ],
        [ approve => 'decision', '[]' ],
        [ approve => 'decision', '"text"' ],
        [ approve => 'decision', '{"stage":"manager","decision":"approve"}' ],
        [ approve => 'decision', decision('third-manager', 'manager',
                                          'approve') ],
        [ approve => 'decision', decision('manager', 'manager', '') ],
        [ approve => 'decision', decision('manager', '', 'approve') ],
        [ approve => 'decided_at', undef ],
        [ approve => 'decided_at', 'now' ],
        [ approve => 'access', undef ],
        [ approve => 'access', [] ],
        [ approve => 'duration', undef ],
        [ approve => 'duration', '3600' ],
        [ approve => 'duration', 0 ],
        [ approve => 'duration', 0.5 ],
        [ approve => 'duration', 1e300 ],
        [ approve => 'required', undef ],
        [ approve => 'required', {} ],
        [ approve => 'required', { manager => 0, customer => 1 } ],
        [ approve => 'required', { manager => 1 } ],
        [ approve => 'required', { manager => 1, customer => -1 } ],
        [ approve => 'answer_within', undef ],
        [ approve => 'answer_within', 0 ],
        [ approve => 'retention', undef ],
        [ approve => 'retention', 0 ],
        [ approve => 'tenant', undef ],
        [ approve => 'tenant', '' ],
        [ approve => 'tenant', 'a:b' ],
        [ approve => 'tenant', 'a}b' ],
        [ approve => 'tenant', "acme\0" ],
        [ approve => 'tenant', 7 ],
        [ approve => 'id', undef ],
        [ approve => 'id', '' ],
        [ approve => 'id', '*' ],
        [ approve => 'id', "$ID\n" ],
        [ approve => 'actor', undef ],
        [ approve => 'actor', 'max' ],
        [ approve => 'actor', { %{ $ACTOR{manager} }, iss => undef } ],
        [ approve => 'actor', { %{ $ACTOR{manager} }, sub => '' } ],
        [ approve => 'actor', { %{ $ACTOR{manager} }, sub => 7 } ],
        [ approve => 'actor', { %{ $ACTOR{manager} }, roles => undef } ],
        [ approve => 'actor', { %{ $ACTOR{manager} }, tenant => 'a:b' } ],
        [ approve => 'actor', { %{ $ACTOR{manager} },
                                roles => { %roles, manager => 1 } } ],
        [ approve => 'actor', { %{ $ACTOR{manager} },
                                roles => { %roles, manager => 'no' } } ],
        [ deny => 'version', undef ],
        [ deny => 'decision', undef ],
        [ deny => 'decided_at', undef ],
        [ deny => 'retention', undef ],
    );

    fresh('awaiting_manager');
    my $before = dump_keys();

    for my $case (@wrong) {
        my ($action, $name, $value) = @$case;
        my $text = defined $value ? $JSON->encode($value) : 'nothing';
        my $reply = step($action, 'manager', $name => $value);

        ok($reply->{error}, "$action with a $name of $text");
    }

    is(dump_keys(), $before, 'malformed calls change nothing');

    for my $name (qw(iss sub)) {
        ok(called('show', 'manager',
                  actor => { %{ $ACTOR{manager} }, $name => '' })->{error},
           "somebody with an empty $name");
    }

    for my $action (qw(ask answer)) {
        fresh($action eq 'ask' ? 'awaiting_manager'
                               : 'needs_info of the manager');
        my $who = $action eq 'ask' ? 'manager' : 'engineer';
        my $before = dump_keys();

        ok(step($action, $who, $_ => undef)->{error}, "$action without a $_")
            for qw(decision decided_at retention);
        ok(step('ask', $who, version => undef)->{error},
           'ask without a version') if $action eq 'ask';
        is(dump_keys(), $before, '... changes nothing');
        is(step($action, $who)->{result}, 'ok', "a proper $action passes");
    }

    for my $action (qw(approve deny)) {
        fresh('awaiting_manager');
        is(step($action, 'manager')->{result}, 'ok',
           "a proper $action passes");
    }

    flush();

    for my $case ([ id => undef ], [ id => 'x y' ], [ tenant => undef ],
                  [ tenant => '{}' ], [ justification => undef ],
                  [ reason => [] ], [ ticket => 7 ], [ duration => '1' ],
                  [ duration => undef ], [ access => undef ], [ access => [] ])
    {
        ok(file('engineer', request => { @$case })->{error},
           "filed with a wrong $case->[0]");
    }

    for my $case ([ max_open => undef ], [ max_open => 0 ],
                  [ max_open => '10' ], [ lapses_within => undef ],
                  [ lapses_within => 0 ], [ answer_within => undef ],
                  [ decision => undef ], [ decided_at => undef ])
    {
        ok(file('engineer', @$case)->{error}, "filed with a wrong $case->[0]");
    }

    is(dump_keys(), '', 'and nothing is there');
    is(file('engineer', request => { ticket => undef })->{result}, 'ok',
       'a ticket may be missing');
    ok(!exists stored()->{ticket}, 'and then there is none');

    flush();
    file('engineer', request => { state => 'approved', version => 9,
                                  approved_at => 1, expires_at => 9e12 });
    is(stored()->{state}, 'awaiting_manager', 'only known members are taken');
    ok(!exists stored()->{expires_at}, 'not one more');

    for my $text ('', '[]', '1', '"x"', 'null', '{', '{} x') {
        ok(evaluated('show', $text)->{error}, "arguments of '$text'");
    }

    ok(evaluated($_, '{}')->{error}, "an action of '$_'")
        for '', 'SHOW', 'awaiting_manager', 'read';
}

# With "maxmemory 1" Redis takes nothing more in.
sub full_redis {
    for my $case ([ revoke => 'manager', 'approved' ],
                  [ complete => 'engineer', 'approved' ],
                  [ cancel => 'engineer', 'awaiting_customer' ],
                  [ deny => 'customer', 'awaiting_customer' ])
    {
        my ($action, $who, $state) = @$case;

        fresh($state);
        redis('CONFIG', 'SET', 'maxmemory', 1);
        my $reply = step($action, $who);
        redis('CONFIG', 'SET', 'maxmemory', 0);

        is($reply->{result}, 'ok', "$action in a full Redis");
        is(live_until(), undef, '... ends access');
        is(stored()->{state}, $reply->{fields}{state}, '... and is written');
    }

    fresh('expired, due');
    redis('CONFIG', 'SET', 'maxmemory', 1);
    is(sweep()->{result}, 'ok', 'sweep in a full Redis');
    redis('CONFIG', 'SET', 'maxmemory', 0);

    for my $case ([ approve => 'customer', 'awaiting_customer' ],
                  [ grant => 'engineer', 'approved' ])
    {
        my ($action, $who, $state) = @$case;

        fresh($state);
        my $before = dump_keys();
        redis('CONFIG', 'SET', 'maxmemory', 1);
        like(step($action, $who)->{error}, qr/OOM/, "$action in a full Redis");
        redis('CONFIG', 'SET', 'maxmemory', 0);
        is(dump_keys(), $before, '... changes nothing');
    }
}

# A key of another type stops a step before its first write.
sub broken_keys {
    my %steps = (
        approve => [ 'customer', 'awaiting_customer' ],
        deny => [ 'customer', 'awaiting_customer' ],
        complete => [ 'engineer', 'approved' ],
        grant => [ 'engineer', 'approved' ],
    );

    for my $action (sort keys %steps) {
        my ($who, $state) = @{ $steps{$action} };

        my $open = "lockbox:requests:$state";

        for my $key ($open, 'lockbox:deadlines', 'lockbox:{acme}:events')
        {
            next if $action eq 'grant' && $key !~ /events/;

            fresh($state);
            redis('SET', $key, 'x');
            my $before = dump_keys();
            like(step($action, $who)->{error}, qr/on a key of type string/,
                 "$action with a broken $key");
            is(dump_keys(), $before, '... changes nothing');

            redis('DEL', $key);
            is(step($action, $who)->{result}, 'ok', '... but with a good one');
        }
    }

    my $open = 'lockbox:{acme}:open:'
               . sha1_hex("https://vendor.example\neve");

    for my $key (qw(lockbox:requests lockbox:{acme}:requests
                    lockbox:{acme}:requests:awaiting_manager
                    lockbox:{acme}:events), $open)
    {
        flush();
        redis('SET', $key, 'x');
        my $before = dump_keys();
        ok(file('engineer')->{error}, "filed with a broken $key");
        is(dump_keys(), $before, '... changes nothing');
    }
}

# Whoever wrote them: a hash that is not the request its name says is none.
sub foreign_hashes {
    for my $field (qw(id tenant state)) {
        fresh('awaiting_manager');
        redis('HSET', request_key(), $field, 'other') if $field ne 'state';
        redis('HDEL', request_key(), $field) if $field eq 'state';

        is(called('show', 'manager')->{result}, 'not_found',
           "a hash with a wrong $field");
        is_deeply(listed('manager')->{ids}, [], '... is not listed');
    }
}

sub many_events {
    fresh('approved');

    my $stream = 'lockbox:{acme}:events';
    my $more = 100_099 - redis('XLEN', $stream);

    redis('EVAL', "for i = 1, $more do redis.call('XADD', ARGV[1], '*', "
                  . "'event', 'collected') end", 0, $stream);
    did('grant', 'engineer');
    is(redis('XLEN', $stream), 100_100, 'so many events are kept');
    did('complete', 'engineer');
    is(redis('XLEN', $stream), 100_001, '... and no more');
}

# These commands must suffice; with one less nothing must be left half done.
sub too_few_permissions {
    my @commands = qw(eval evalsha time type hgetall hmget exists zrange
                      zrangebyscore zcount zscore set del hset
                      pexpireat zadd zrem xadd xinfo|stream xrange publish);
    my $client = $t->redis_client;

    redis('ACL', 'SETUSER', 'lockbox', 'reset', 'on', 'nopass', '~lockbox:*',
          '&lockbox:wake',
          map { "+$_" } @commands);
    $client->command('AUTH', 'lockbox', 'any');

    call_as($client, sub {
        for my $state (sort keys %STATE) {
            fresh($state);
            is(listed('manager')->{ids}[0], $ID,
               "$state: with few permissions");
        }

        without('del', 'revoke', 'manager', 'approved');
        without($_, 'approve', 'customer', 'awaiting_customer')
            for qw(set hset pexpireat zadd zrem xadd publish);
    });
}

sub without {
    my ($command, $action, $who, $state) = @_;

    fresh($state);
    my $before = dump_keys();

    redis('ACL', 'SETUSER', 'lockbox', "-$command");
    like(step($action, $who)->{error}, qr/no permission for $command/i,
         "$action without $command");
    is(dump_keys(), $before, '... changes nothing');

    redis('ACL', 'SETUSER', 'lockbox', "+$command");
    is(step($action, $who)->{result}, 'ok', "$action with it");
}
